"""CAMELYON16 and 17: the numbers of the literature, and every leak refused by name."""

import json
from collections import Counter

import pandas as pd
import pytest

from asmil.bags import DatasetError, load_dataset, slide_sets
from asmil.errors import SplitError

C16_TRAIN = [f"normal_{i:03d}" for i in range(1, 161) if i != 86] + [f"tumor_{i:03d}" for i in range(1, 112)]
C16_TEST = [f"test_{i:03d}" for i in range(1, 131) if i != 49]


@pytest.fixture(autouse=True)
def _tables_only(monkeypatch):
    """What is in the bags is tested with BRACS, whose official loader is the same; here it would be thousands."""
    monkeypatch.setattr(slide_sets, "load_bags", lambda store, cohort: [])


def sizes(dataset, number=0):
    return tuple(map(len, dataset.splits.fold(number)))


@pytest.fixture(scope="module")
def c16_features(tmp_path_factory, write_slides):
    return write_slides(tmp_path_factory.mktemp("c16") / "features", C16_TRAIN + C16_TEST)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A made-up reference of the right form: every third test slide a tumour, test_114 among them."""
    path = tmp_path_factory.mktemp("c16") / "testing" / "reference.csv"
    path.parent.mkdir()
    path.write_text("\n".join(f"{s},{'Tumor' if int(s[5:]) % 3 == 0 else 'Normal'},IDC,None" for s in C16_TEST))
    return path


class TestCamelyon16:
    def test_the_official_numbers(self, data_dir, c16_features):
        c16 = load_dataset("camelyon16", root=data_dir / "tables" / "camelyon16", features=c16_features)
        train, val, test = c16.splits.fold(0)
        assert (len(train), len(val), len(test)) == (243, 27, 129)
        assert sorted(test) == C16_TEST
        assert sorted(train + val) == C16_TRAIN
        label = dict(zip(c16.cohort.slides, c16.cohort.table["label"], strict=True))
        assert Counter(label[slide] for slide in test) == {"tumor": 49, "normal": 80}
        assert all(label[slide] == slide.split("_")[0] for slide in train + val)
        assert Counter(label[slide] for slide in val) == {"normal": 16, "tumor": 11}

    def test_without_test_114(self, data_dir, c16_features):
        c16 = load_dataset("camelyon16", root=data_dir / "tables" / "camelyon16", features=c16_features, test_114=False)
        test = c16.cohort.subset(c16.splits.fold(0).test)
        assert Counter(test.table["label"]) == {"tumor": 48, "normal": 80}
        assert [problem.slide for problem in c16.cohort.problems] == ["test_114"]

    def test_the_splits_of_others_keep_the_official_test_part(self, data_dir, c16_features):
        root = data_dir / "tables" / "camelyon16"
        c16 = load_dataset("camelyon16", root=root, features=c16_features, splits=root / "acmil_splits")
        assert [sizes(c16, fold) for fold in range(5)] == [(242, 27, 129)] * 5

    @pytest.mark.parametrize(("leak", "message"), [("test_001", "official test"), (None, "training part are tested")])
    def test_a_leak_in_the_splits_of_others_is_named(self, reference, c16_features, tmp_path, leak, message):
        train, test = C16_TRAIN.copy(), C16_TEST.copy()
        moved = leak or train[7]
        (test if leak else train).remove(moved)
        (train if leak else test).append(moved)
        path = tmp_path / "split_0.json"
        path.write_text(json.dumps({"train_names": train, "val_names": [], "test_names": test}))
        with pytest.raises(SplitError, match=rf"{message}.*{moved}"):
            load_dataset("camelyon16", root=reference, features=c16_features, splits=path)

    def test_the_seed_draws_the_validation_part_only(self, reference, c16_features):
        folds = [
            load_dataset("camelyon16", root=reference, features=c16_features, seed=seed).splits.fold(0)
            for seed in (0, 0, 1)
        ]
        assert folds[0] == folds[1]
        assert set(folds[0].val) != set(folds[2].val)
        assert folds[0].test == folds[2].test

    def test_names_match_in_any_letter_case(self, reference, tmp_path, write_slides):
        features = write_slides(tmp_path / "f", [slide.capitalize() for slide in C16_TRAIN + C16_TEST])
        c16 = load_dataset("camelyon16", root=reference.parent.parent, features=features)
        assert sizes(c16) == (243, 27, 129)
        assert set(c16.cohort.slides) >= {"Tumor_001", "Normal_160", "Test_130"}

    def test_missing_features_are_named_unless_a_part_is_enough(self, reference, tmp_path, write_slides):
        features = write_slides(tmp_path / "f", C16_TRAIN[5:] + C16_TEST)
        with pytest.raises(DatasetError, match="5 of 399: normal_001"):
            load_dataset("camelyon16", root=reference, features=features)
        c16 = load_dataset("camelyon16", root=reference, features=features, partial=True)
        assert sum(sizes(c16)) == 394
        assert len(c16.cohort.problems) == 5

    def test_another_table_or_none_is_refused(self, reference, c16_features, tmp_path):
        (tmp_path / "reference.csv").write_text(reference.read_text().replace("test_001", "test_002"))
        with pytest.raises(DatasetError, match="128 test slides"):
            load_dataset("camelyon16", root=tmp_path, features=c16_features)
        for root in (None, c16_features):
            with pytest.raises(DatasetError, match=r"reference\.csv"):
                load_dataset("camelyon16", root=root, features=c16_features)
        with pytest.raises(DatasetError, match="features=runs/camelyon16/features"):
            load_dataset("camelyon16", root=reference)

    def test_annotations_are_found_and_their_classes_told(self, reference, c16_features, data_dir):
        drawn = data_dir / "tables" / "camelyon16" / "tumor_polygons"
        c16 = load_dataset("camelyon16", root=reference, features=c16_features, annotations=drawn)
        assert (c16.annotations, c16.positive) == (drawn, ("positive",))
        beside = reference.parent.parent / "annotations"
        beside.mkdir(exist_ok=True)
        (beside / "tumor_001.xml").write_text('<A PartOfGroup="_1"/><A PartOfGroup="_2"/>')
        (beside / "tumor_002.xml").write_text('<A PartOfGroup="Tumor"/>')
        c16 = load_dataset("camelyon16", root=reference, features=c16_features)
        assert (c16.annotations, c16.positive) == (beside, ("Tumor", "_1"))
        with pytest.raises(DatasetError, match="no folder of annotations"):
            load_dataset("camelyon16", root=reference, features=c16_features, annotations=beside / "x")


NODES = [f"patient_{p:03d}_node_{n}" for p in range(100) for n in range(5)]


@pytest.fixture(scope="module")
def c17_features(tmp_path_factory, write_slides):
    return write_slides(tmp_path_factory.mktemp("c17") / "features", [*NODES, "patient_100_node_0"])


@pytest.fixture
def stages(tmp_path):
    """A made-up table in which node 4 of every fourth patient is each of the classes in turn."""
    classes = ("negative", "itc", "micro", "macro")
    rows = {node: classes[int(node[8:11]) % 4] if node.endswith("4") else "negative" for node in NODES}
    patients = {f"patient_{p:03d}.zip": ("pN0", "pN0(i+)", "pN1mi", "pN1")[p % 4] for p in range(100)}
    table = pd.DataFrame({"patient": [*patients, *rows], "stage": [*patients.values(), *rows.values()]})

    def write(**changes):
        table.loc[table["patient"].isin(changes), "stage"] = table["patient"].map(changes)
        table.to_csv(tmp_path / "stages.csv", index=False)
        return tmp_path

    return write


class TestCamelyon17:
    def test_the_real_table(self, data_dir, c17_features):
        c17 = load_dataset("camelyon17", root=data_dir / "tables" / "camelyon17", features=c17_features)
        assert sizes(c17) == (270, 30, 200)
        assert c17.cohort.classes == ("negative", "itc", "micro", "macro")
        assert Counter(c17.cohort.table["label"]) == {"negative": 323, "itc": 35, "micro": 57, "macro": 85}
        site = dict(zip(c17.cohort.slides, c17.cohort.table["site"], strict=True))
        train, val, test = c17.splits.fold(0)
        assert {site[slide] for slide in test} == {"centre_3", "centre_4"}
        assert {site[slide] for slide in train + val} == {"centre_0", "centre_1", "centre_2"}
        assert not {slide[:11] for slide in train} & {slide[:11] for slide in val}
        assert [problem.slide for problem in c17.cohort.problems if problem.slide] == ["patient_100_node_0"]

    def test_a_stage_that_contradicts_the_nodes_is_named(self, stages, c17_features):
        assert sizes(load_dataset("camelyon17", root=stages(), features=c17_features))[2] == 200
        with pytest.raises(DatasetError, match="patient_002 is pN1mi, its nodes give pN1"):
            load_dataset("camelyon17", root=stages(patient_002_node_0="macro"), features=c17_features)

    def test_a_table_of_fewer_nodes_is_refused(self, data_dir, c17_features, tmp_path):
        for name in ("reference.csv", "submission.csv"):
            with pytest.raises(DatasetError, match="25 nodes"):
                load_dataset("camelyon17", root=data_dir / "tables/camelyon17/okkah" / name, features=c17_features)
        (tmp_path / "stages.csv").write_text("a,b\n1,2\n")
        with pytest.raises(DatasetError, match="not the table of stages"):
            load_dataset("camelyon17", root=tmp_path, features=c17_features)
