"""Datasets that anyone can load: the registry, digits, and the slide cohorts colon and idc."""

import inspect
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from asmil.bags import DATASETS, DatasetError, list_datasets, load_dataset, make_splits
from asmil.errors import CohortError, ConfigError, UnknownPartError

CLASSIC = ["elephant", "fox", "musk1", "musk2", "tiger"]


def test_the_datasets_are_listed():
    assert {*CLASSIC, "colon", "digits", "idc"} <= set(list_datasets())


def test_an_unknown_dataset_or_option_is_named():
    with pytest.raises(UnknownPartError, match="musk2"):
        load_dataset("musk3")
    with pytest.raises(ConfigError, match="tiles_per_bag"):
        load_dataset("digits", tiles=3)


@pytest.mark.parametrize(
    ("name", "option", "value", "says"),
    [
        ("own", "features", 5, "int.*give a path"),
        ("own", "annotations", 7, "int.*give a path"),
        ("own", "splits", ["a.csv"], "list.*give a path"),
        ("own", "positive", "tumour", "str.*give a list of names"),
        ("own", "positive", 3, "int.*give a list of names"),
        ("tcga", "slide_table", {"a": 1}, "dict.*give a path"),
        ("tcga", "by_site", "yes", "str.*true or false"),
        ("tcga", "val_fraction", "a fifth", "str.*give a number"),
        ("digits", "bags", True, "bool.*give a number"),
        ("digits", "seed", None, "None.*give a number"),
        ("bracs", "classes", [7], "list.*give a number"),
        ("own", "root", ["labels.csv"], "list.*give a path"),
    ],
)
def test_an_option_of_another_kind_is_refused(name, option, value, says):
    """As a study's file may say it; a text for a list of names would be one of its letters."""
    with pytest.raises(ConfigError, match=f"{option} cannot be .*{says}"):
        load_dataset(name, **{option: value})


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("digits", {"bags": 20.5}), ("digits", {"seed": 1.5}), ("tcga", {"seed": -1}), ("bracs", {"seed": -1})],
)
def test_numbers_that_are_to_be_whole_are(name, wrong):
    ((option, value),) = wrong.items()
    with pytest.raises(DatasetError, match=f"{option} must be a whole number.*{option}={value}"):
        load_dataset(name, **wrong)


@pytest.mark.parametrize("name", list_datasets())
def test_every_option_is_documented(name):
    page = (Path(__file__).parents[3] / "docs" / "datasets.md").read_text(encoding="utf-8")
    (row,) = [line for line in page.splitlines() if line.startswith("|") and f"`{name}`" in line.split("|")[1]]
    options = list(inspect.signature(DATASETS[name]).parameters)
    assert options[0] == "root"
    assert [option for option in options if f"`{option}`" not in row] == []


class TestDigits:
    def test_bags_labels_and_truth_agree(self):
        digits = load_dataset("digits")
        assert len(digits.bags) == 100
        assert Counter(digits.cohort.table["label"]) == {"positive": 50, "negative": 50}
        for bag, slide, label in zip(digits.bags, digits.cohort.slides, digits.cohort.labels, strict=True):
            truth = digits.tile_labels[slide]
            assert bag.slide == slide
            assert bag.label == label
            assert bag.features.shape == (16, 64)
            assert truth.shape == (16,)
            assert truth.sum() == (1 if label else 0)

    def test_the_truth_is_that_of_scikit_learn(self):
        from sklearn.datasets import load_digits

        pixels, digit = load_digits(return_X_y=True)
        shown = {image.tobytes(): value for image, value in zip(pixels.astype(np.float32) / 16, digit, strict=True)}
        digits = load_dataset("digits", target=3, positive_share=0.2)
        for bag in digits.bags:
            found = [shown[image.tobytes()] == 3 for image in bag.features.numpy()]
            assert found == digits.tile_labels[bag.slide].astype(bool).tolist()

    def test_no_image_is_in_two_bags(self):
        rows = np.concatenate([bag.features.numpy() for bag in load_dataset("digits").bags])
        assert len(np.unique(rows, axis=0)) == len(rows) == 1600

    def test_the_seed_decides(self):
        first, again, other = (load_dataset("digits", seed=seed).bags[0].features for seed in (0, 0, 1))
        assert first.equal(again)
        assert not first.equal(other)

    def test_more_images_than_there_are_is_refused(self):
        with pytest.raises(DatasetError, match="1617"):
            load_dataset("digits", bags=200, tiles_per_bag=50)
        with pytest.raises(DatasetError, match="a share in"):
            load_dataset("digits", positive_share=0)


class TestSlides:
    @pytest.fixture
    def root(self, tmp_path, write_feature_files):
        slides = write_feature_files(tmp_path / "features", n_slides=12, dim=8)
        rows = [f"{slide},{slide},{i % 2}" for i, slide in enumerate([*slides, "no_tissue"])]
        (tmp_path / "colon" / "annotations").mkdir(parents=True)
        (tmp_path / "colon" / "labels.csv").write_text("\n".join(["slide_id,case_id,label", *rows]))
        return tmp_path

    @pytest.mark.parametrize("inner", ["", "colon"])
    def test_bags_come_with_labels_and_the_missing_slide_is_named(self, root, inner):
        colon = load_dataset("colon", root=root / inner, features=root / "features")
        assert [bag.label for bag in colon.bags] == [0, 1] * 6
        assert [bag.slide for bag in colon.bags] == colon.cohort.slides
        assert all(bag.level0_xy is not None for bag in colon.bags)
        assert [problem.slide for problem in colon.cohort.problems] == ["no_tissue"]
        assert (colon.annotations, colon.positive) == (root / "colon" / "annotations", ("epithelial",))

    def test_a_table_and_features_of_ones_own(self, root):
        table = pd.read_csv(root / "colon" / "labels.csv").rename(columns={"label": "Diagnosis", "case_id": "Who"})
        table.assign(Diagnosis=["no", "yes"] * 6 + ["no"]).to_excel(root / "mine.xlsx", index=False)
        given = {"features": root / "features", "label_column": "Diagnosis", "case_column": "Who"}
        own = load_dataset("own", root=root / "mine.xlsx", **given, annotations=root / "colon", positive=["x"])
        assert own.cohort.classes == ("no", "yes")
        assert [bag.label for bag in own.bags] == [0, 1] * 6
        assert [problem.slide for problem in own.cohort.problems] == ["no_tissue"]
        assert (own.splits, own.annotations, own.positive) == (None, root / "colon", ("x",))
        splits = pd.DataFrame({"slide": own.cohort.slides, "fold": [0, 1, 2] * 4})
        splits.to_csv(root / "folds.csv", index=False)
        again = load_dataset("own", root=root / "mine.xlsx", **given, splits=root / "folds.csv")
        assert set(again.splits.fold(0).test) == set(own.cohort.slides[::3])
        with pytest.raises(DatasetError, match="the table of labels is not found"):
            load_dataset("own", root=root / "none.csv", features=root / "features")

    def test_a_sheet_and_spellings_are_named_as_for_every_command(self, root):
        table = pd.read_csv(root / "colon" / "labels.csv").assign(label="")
        table = table[table["slide_id"] != "no_tissue"].assign(label=["no", "yes"] * 5 + ["No", "yes"])
        with pd.ExcelWriter(root / "mine.xlsx") as book:
            table.to_excel(book, sheet_name="Cases 2025", index=False)
            pd.DataFrame({"Code": ["yes"], "Meaning": ["relapse"]}).to_excel(book, sheet_name="Legend", index=False)
        given = {"root": root / "mine.xlsx#Cases 2025", "features": root / "features"}
        with pytest.raises(CohortError, match="several sheets"):
            load_dataset("own", **given | {"root": root / "mine.xlsx"})
        with pytest.raises(CohortError, match="spellings same"):
            load_dataset("own", **given)
        assert len(load_dataset("own", **given, spellings="same").cohort.classes) == 2
        with pytest.raises(CohortError, match="ask, same or different"):
            load_dataset("own", **given, spellings="equal")

    def test_missing_features_name_the_command_that_makes_them(self, root):
        for features in (None, root / "nothing"):
            with pytest.raises(DatasetError, match=r"asmil embed --slides .*slides --out runs/colon"):
                load_dataset("colon", root=root, features=features)

    def test_missing_data_name_the_option(self, tmp_path, monkeypatch):
        monkeypatch.delenv("ASMIL_DATA", raising=False)
        with pytest.raises(DatasetError, match="root=FOLDER"):
            load_dataset("idc", features=tmp_path)
        with pytest.raises(DatasetError, match="root=FOLDER"):
            load_dataset("idc", root=tmp_path, features=tmp_path)

    @pytest.mark.parametrize(("name", "positive", "negative"), [("colon", 51, 49), ("idc", 70, 70)])
    def test_the_real_tables(self, data_dir, tmp_path, name, positive, negative):
        for slide in pd.read_csv(data_dir / name / "labels.csv")["slide_id"]:
            torch.save(torch.arange(8.0).reshape(2, 4), tmp_path / f"{slide}.pt")
        dataset = load_dataset(name, root=data_dir, features=tmp_path)
        assert Counter(bag.label for bag in dataset.bags) == {1: positive, 0: negative}
        assert dataset.cohort.problems == []
        assert all((dataset.annotations / f"{bag.slide}.geojson").is_file() for bag in dataset.bags)
        make_splits(dataset.cohort).check(dataset.cohort)
