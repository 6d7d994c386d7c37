"""BRACS and TCGA: parts, patients and sites as the tables and barcodes say, and every leak refused by name."""

from collections import Counter

import pandas as pd
import pytest

from asmil.bags import DatasetError, load_dataset
from asmil.bags.datasets import tcga as tcga_module
from asmil.errors import CohortError, ConfigError, SplitError


def sizes(dataset):
    return tuple(map(len, dataset.splits.fold(0)))


TYPES = ("N", "PB", "UDH", "FEA", "ADH", "DCIS", "IC")


@pytest.fixture
def bracs(tmp_path, write_slides):
    """A made-up official table of 42 slides of 21 patients, patient by patient in one part, and their features."""
    rows = [
        {"WSI Filename": f"BRACS_{i}", "Patient Id": i // 2, "WSI label": TYPES[i % 7], "Set": part}
        for i, part in enumerate(["Training"] * 14 + ["Validation"] * 14 + ["Testing"] * 14)
    ]
    features = write_slides(tmp_path / "features", [row["WSI Filename"] for row in rows])

    def write(change=None):
        table = pd.DataFrame(rows)
        if change is not None:
            table = change(table)
        table.to_excel(tmp_path / "BRACS.xlsx", index=False)
        return {"root": tmp_path, "features": features}

    return write


class TestBracs:
    @pytest.mark.parametrize("classes", [7, 3])
    def test_the_real_table(self, data_dir, tmp_path, write_slides, classes):
        path = data_dir / "tables" / "bracs.csv"
        features = write_slides(tmp_path / "f", pd.read_csv(path)["slide_id"])
        bracs = load_dataset("bracs", root=path, features=features, classes=classes)
        assert sizes(bracs) == (395, 65, 87)
        of_type = {"N": 44, "PB": 147, "UDH": 74, "FEA": 41, "ADH": 48, "DCIS": 61, "IC": 132}
        of_group = {"benign": 265, "atypical": 89, "malignant": 193}
        assert Counter(bracs.cohort.table["label"]) == (of_type if classes == 7 else of_group)
        assert bracs.cohort.classes == tuple(of_type if classes == 7 else of_group)
        assert "names no patient twice" in str(bracs.cohort.problems[-1])

    def test_the_official_table_names_patients(self, bracs):
        dataset = load_dataset("bracs", **bracs())
        assert sizes(dataset) == (14, 14, 14)
        assert len(set(dataset.cohort.cases)) == 21
        assert all("different labels" in problem.what for problem in dataset.cohort.problems)
        for bag, slide, label in zip(dataset.bags, dataset.cohort.slides, dataset.cohort.labels, strict=True):
            number = int(slide.removeprefix("BRACS_"))
            assert (bag.slide, bag.case, bag.label, label) == (slide, str(number // 2), number % 7, number % 7)

    def test_a_patient_in_two_parts_is_named(self, bracs):
        files = bracs(lambda table: table.replace({"Patient Id": {20: 0}}))
        with pytest.raises(SplitError, match="0 in test and train"):
            load_dataset("bracs", **files)

    def test_a_slide_in_two_parts_is_named(self, bracs):
        files = bracs(lambda table: pd.concat([table, table[:1].assign(Set="Testing")]))
        with pytest.raises(SplitError, match="BRACS_0 in test and train"):
            load_dataset("bracs", **files)

    def test_unknown_types_parts_and_columns_are_named(self, bracs):
        for change, message in (
            (lambda table: table.replace({"WSI label": {"IC": "X"}}), "unknown label.*X"),
            (lambda table: table.replace({"Set": {"Testing": "held out"}}), "unknown part.*held out"),
            (lambda table: table.drop(columns="Set"), "no column of the part"),
        ):
            with pytest.raises(DatasetError, match=message):
                load_dataset("bracs", **bracs(change))
        with pytest.raises(ConfigError, match="classes=5"):
            load_dataset("bracs", classes=5, **bracs())

    def test_without_a_validation_part_patients_are_drawn(self, bracs):
        files = bracs(lambda table: table.replace({"Set": {"Validation": "Training"}}))
        dataset = load_dataset("bracs", **files)
        train, val, test = dataset.splits.fold(0)
        assert len(test) == 14
        assert val
        case = dict(zip(dataset.cohort.slides, dataset.cohort.cases, strict=True))
        assert not {case[slide] for slide in train} & {case[slide] for slide in val}


def barcode(site, patient, slide=1):
    return f"TCGA-{site}-{patient:04d}-01Z-00-DX{slide}"


@pytest.fixture
def tcga(tmp_path, write_slides):
    """A table of two slides for each of 24 patients of 6 sites, and their features."""
    rows = [
        {
            "case_id": barcode(site, n)[:12],
            "slide_id": f"{barcode(site, n, s)}.svs",
            "oncotree_code": "ILC" if n % 2 else "IDC",
        }
        for site in ("A1", "B2", "C3", "D4", "E5", "F6")
        for n in range(4)
        for s in (1, 2)
    ]
    features = write_slides(tmp_path / "features", [row["slide_id"][:-4] for row in rows])

    def write(change=None):
        table = pd.DataFrame(rows)
        if change is not None:
            table = change(table)
        table.to_csv(tmp_path / "labels.csv", index=False)
        return {"root": tmp_path / "labels.csv", "features": features, "label_column": "oncotree_code"}

    return write


class TestTcga:
    def test_patients_and_sites_come_from_the_barcodes(self, tcga):
        for change in (None, lambda table: table.drop(columns="case_id")):
            dataset = load_dataset("tcga", **tcga(change))
            assert dataset.splits is None
            assert dataset.cohort.classes == ("IDC", "ILC")
            assert len(dataset.bags) == 48
            for bag, site in zip(dataset.bags, dataset.cohort.table["site"], strict=True):
                assert (bag.case, site) == (bag.slide[:12], bag.slide[:7])

    def test_by_site_no_site_is_on_both_sides(self, tcga):
        splits = load_dataset("tcga", by_site=True, folds=3, **tcga()).splits
        for fold in splits.folds:
            train, val, test = ({slide[:7] for slide in part} for part in splits.fold(fold))
            assert not test & (train | val)

    def test_a_patient_column_against_the_barcodes_is_refused(self, tcga):
        files = tcga(lambda table: table.assign(case_id=table["slide_id"].str[:-4]))
        with pytest.raises(CohortError, match="not those of the barcodes"):
            load_dataset("tcga", **files)

    def test_splits_of_others_that_leak_a_patient_are_refused(self, tcga, tmp_path):
        files = tcga()
        slides = pd.read_csv(files["root"])["slide_id"].str[:-4].tolist()
        split = pd.DataFrame({"slide": slides, "fold": 0, "part": ["train"] * 30 + ["val"] * 8 + ["test"] * 10})
        split.to_csv(tmp_path / "split.csv", index=False)
        assert sizes(load_dataset("tcga", splits=tmp_path / "split.csv", **files)) == (30, 8, 10)
        split.loc[len(split) - 1, "part"] = "train"
        split.to_csv(tmp_path / "split.csv", index=False)
        with pytest.raises(SplitError, match=f"{slides[-1][:12]} in test and train"):
            load_dataset("tcga", splits=tmp_path / "split.csv", **files)

    def test_other_names_and_a_missing_table_are_refused(self, tcga, tmp_path, write_slides):
        files = tcga(lambda table: table.replace({"slide_id": {f"{barcode('A1', 0)}.svs": "mine"}}))
        write_slides(tmp_path / "features", ["mine"], file="more.h5")
        with pytest.raises(CohortError, match=r"not named by TCGA barcodes.*mine"):
            load_dataset("tcga", **files)
        with pytest.raises(DatasetError, match="root=PATH"):
            load_dataset("tcga", root=tmp_path, features=tmp_path)
        with pytest.raises(DatasetError, match="tile features"):
            load_dataset("tcga", **{**tcga(), "features": None})

    def test_the_real_tables_and_features(self, data_dir):
        tables = data_dir / "tables" / "tcga" / "stamp_toolarena"
        dataset = load_dataset(
            "tcga",
            root=tables / "TCGA-CRC-DX_CLINI.xlsx",
            slide_table=tables / "TCGA-CRC-DX_SLIDE.csv",
            label_column="KRAS",
            features=data_dir / "features" / "toolarena_tcga-crc_virchow2_10x",
        )
        assert set(dataset.cohort.table["site"]) == {"TCGA-A6"}
        assert {bag.features.shape[1] for bag in dataset.bags} == {1280}
        assert all(bag.case == bag.slide[:12] for bag in dataset.bags)
        labels = {bag.case: dataset.cohort.classes[bag.label] for bag in dataset.bags}
        mutated, wild = ("2674", "2684"), ("2675", "2677", "2678", "2683")
        assert labels == {f"TCGA-A6-{n}": "MUT" if n in mutated else "WT" for n in mutated + wild}
        aside = {problem.slide[:12] for problem in dataset.cohort.problems}
        assert aside >= {f"TCGA-A6-{n}" for n in ("2672", "2676", "2679", "2680")}

    def test_a_real_table_of_subtypes(self, data_dir, tmp_path, write_slides, monkeypatch):
        monkeypatch.setattr(tcga_module, "load_bags", lambda store, cohort: [])
        path = data_dir / "tables" / "tcga" / "survpath" / "metadata" / "tcga_brca.csv"
        features = write_slides(tmp_path / "f", pd.read_csv(path)["slide_id"].str.removesuffix(".svs"))
        dataset = load_dataset("tcga", root=path, features=features, label_column="oncotree_code", by_site=True)
        assert Counter(dataset.cohort.table["label"]) == {"IDC": 767, "ILC": 164}
        assert len(set(dataset.cohort.cases)) == 871
        assert dataset.splits.folds == [0, 1, 2, 3, 4]
