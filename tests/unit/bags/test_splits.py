"""Splits made elsewhere are read and checked; leaks are named; ours survive a round trip."""

import json

import pandas as pd
import pytest

from asmil.bags import Splits, make_splits, read_cohort, read_splits
from asmil.errors import SplitError
from asmil.tasks import create_task


@pytest.fixture
def cohort():
    """Twelve patients of two classes with two slides each, patients p00 to p11, slides p00a and p00b ..."""
    rows = [(f"p{i:02d}{c}", f"p{i:02d}", "xy"[i % 2]) for i in range(12) for c in "ab"]
    return read_cohort(pd.DataFrame(rows, columns=["slide", "case", "label"]))


def slides_of(*patients):
    return [f"p{i:02d}{c}" for i in patients for c in "ab"]


def write_clam(path, train, val, test):
    columns = {"train": pd.Series(train), "val": pd.Series(val, dtype=object), "test": pd.Series(test)}
    pd.DataFrame(columns).to_csv(path)


def test_our_own_file_comes_back(cohort, tmp_path):
    splits = make_splits(cohort, folds=3)
    splits.save(tmp_path / "splits.csv")
    assert list(splits.table.columns) == ["slide", "case", "label", "fold", "part"]
    for again in (Splits.load(tmp_path / "splits.csv"), read_splits(tmp_path / "splits.csv", cohort)):
        assert [tuple(map(sorted, again.fold(k))) for k in again.folds] == [
            tuple(map(sorted, splits.fold(k))) for k in splits.folds
        ]
    with pytest.raises(SplitError, match="no fold 7"):
        splits.fold(7)


def test_summary_counts_slides_patients_and_classes(cohort):
    summary = make_splits(cohort, folds=3).summary()
    assert summary["part"].tolist() == ["train", "val", "test"] * 3
    assert summary.groupby("fold")[["slides", "patients", "x", "y"]].sum().values.tolist() == [[24, 12, 12, 12]] * 3


def test_clam_files_plain_and_bool(cohort, tmp_path):
    parts = slides_of(0, 1, 2, 3, 4, 5), slides_of(6, 7), slides_of(8, 9, 10, 11)
    for number in (0, 10, 9):
        write_clam(tmp_path / f"splits_{number}.csv", *parts)
    (tmp_path / "splits_0_descriptor.csv").write_text(",train,val,test\nx,1,1,1\n")
    splits = read_splits(tmp_path, cohort)
    assert splits.folds == [0, 1, 2]
    assert tuple(map(tuple, splits.fold(2))) == tuple(map(tuple, parts))
    flags = {p: [s in part for s in cohort.slides] for p, part in zip(("train", "val", "test"), parts, strict=True)}
    only_bool = tmp_path / "bool"
    only_bool.mkdir()
    pd.DataFrame(flags, index=cohort.slides).to_csv(only_bool / "splits_0_bool.csv")
    assert tuple(map(tuple, read_splits(only_bool, cohort).fold(0))) == tuple(map(tuple, parts))


def test_a_missing_validation_part_is_drawn_from_training_patients(cohort, tmp_path):
    write_clam(tmp_path / "splits_0.csv", slides_of(*range(8)), [], slides_of(8, 9, 10, 11))
    fold = read_splits(tmp_path / "splits_0.csv", cohort).fold(0)
    assert sorted(fold.train + fold.val) == slides_of(*range(8))
    assert len(fold.val) == 4
    assert len({slide[:3] for slide in fold.val}) == 2
    assert sorted(fold.test) == slides_of(8, 9, 10, 11)


def test_fold_column(cohort):
    table = cohort.table.assign(fold=[str(i // 8) for i in range(24)])
    splits = read_splits(None, read_cohort(table))
    assert splits.fold(1).test == slides_of(4, 5, 6, 7)
    with pytest.raises(SplitError, match="no fold column"):
        read_splits(None, cohort)


def test_acmil_json_by_patient_names(cohort, tmp_path):
    names = {f"{part}_names": ps for part, ps in (("train", range(6)), ("val", (6, 7)), ("test", range(8, 12)))}
    content = {key: [f"p{i:02d}" for i in patients] for key, patients in names.items()}
    (tmp_path / "split_1.json").write_text(json.dumps(content))
    assert read_splits(tmp_path, cohort).fold(0).val == slides_of(6, 7)


def test_leaks_are_refused_by_patient(cohort, tmp_path):
    write_clam(tmp_path / "splits_0.csv", [*slides_of(0, 1, 2, 3), "p08a"], slides_of(6, 7), ["p08b", "p09a"])
    with pytest.raises(SplitError, match=r"two parts of fold 0.*p08 in test and train"):
        read_splits(tmp_path, cohort)
    write_clam(tmp_path / "splits_0.csv", slides_of(0, 1), slides_of(2, 3), slides_of(2, 3))
    with pytest.raises(SplitError, match="fold 0"):
        read_splits(tmp_path, cohort)


def test_an_own_table_with_a_leak_is_refused(cohort):
    splits = make_splits(cohort, folds=3)
    splits.check(cohort)
    table = splits.table.copy()
    slide = splits.fold(1).test[0]
    table.loc[(table["slide"] == slide) & (table["fold"] == 1), "part"] = "train"
    with pytest.raises(SplitError, match=f"fold 1.*{slide[:3]} in test and train"):
        Splits(table).check(cohort)
    with pytest.raises(SplitError, match="twice in fold 0"):
        Splits(pd.concat([splits.table, splits.table.head(1)])).check(cohort)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (([*slides_of(0, 1), "who"], slides_of(2, 3), slides_of(4, 5)), "not in the cohort.*who"),
        ((slides_of(0, 2), slides_of(1, 3), slides_of(4, 5)), "no training slides of class y"),
        ((slides_of(0, 1), slides_of(2, 3), []), "no test part"),
    ],
)
def test_other_faults(parts, message, cohort, tmp_path):
    write_clam(tmp_path / "splits_0.csv", *parts)
    with pytest.raises(SplitError, match=message):
        read_splits(tmp_path, cohort)


def test_slides_that_the_cohort_set_aside_are_passed_over(cohort, tmp_path):
    kept = cohort.match([s for s in cohort.slides if s != "p00a"])
    write_clam(tmp_path / "splits_0.csv", slides_of(0, 1, 2, 3), slides_of(4, 5), slides_of(6, 7))
    assert len(read_splits(tmp_path, kept).fold(0).train) == 7


@pytest.mark.parametrize(("name", "text"), [("a.json", "{"), ("a.json", "[]"), ("a.csv", "x,y\n1,2\n")])
def test_unknown_forms(name, text, cohort, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(SplitError):
        read_splits(tmp_path / name, cohort)
    with pytest.raises(SplitError, match="no splits at this path"):
        read_splits(tmp_path / "missing.csv", cohort)


@pytest.mark.parametrize(
    "names", [("train", "validation", "test"), ("Training", "valid", "TEST"), ("train", "dev", "test")]
)
@pytest.mark.parametrize("form", ["wide", "flags", "numbers", "table", "json"])
def test_parts_under_their_usual_names_are_used_whole(form, names, cohort, tmp_path):
    parts = slides_of(0, 1, 2, 3, 4, 5), slides_of(6, 7), slides_of(8, 9, 10, 11)
    path = tmp_path / "splits_0.csv"
    if form == "wide":
        pd.DataFrame({name: pd.Series(part) for name, part in zip(names, parts, strict=True)}).to_csv(path)
    elif form == "table":
        rows = [(slide, name) for name, part in zip(names, parts, strict=True) for slide in part]
        pd.DataFrame(rows, columns=["slide", "set"]).to_csv(path, index=False)
    elif form == "json":
        path = tmp_path / "split_0.json"
        path.write_text(json.dumps({f"{name}_names": part for name, part in zip(names, parts, strict=True)}))
    else:
        flags = {name: [slide in part for slide in cohort.slides] for name, part in zip(names, parts, strict=True)}
        pd.DataFrame(flags, index=cohort.slides, dtype=int if form == "numbers" else bool).to_csv(path)
    assert tuple(map(sorted, read_splits(path, cohort).fold(0))) == tuple(map(sorted, parts))


@pytest.mark.parametrize("form", ["wide", "flags", "table", "json"])
def test_a_part_of_another_name_is_refused_if_it_has_slides_of_the_cohort(form, cohort, tmp_path):
    parts = {"train": slides_of(0, 1, 2, 3), "test": slides_of(8, 9), "external": slides_of(10)}
    path = tmp_path / ("split_0.json" if form == "json" else "splits_0.csv")
    if form == "wide":
        pd.DataFrame({name: pd.Series(part) for name, part in parts.items()}).to_csv(path)
    elif form == "flags":
        flags = {name: [slide in part for slide in cohort.slides] for name, part in parts.items()}
        pd.DataFrame(flags, index=cohort.slides).to_csv(path)
    elif form == "table":
        rows = [(slide, 0, name if name != "external" else "") for name, part in parts.items() for slide in part]
        pd.DataFrame(rows, columns=["slide", "fold", "part"]).to_csv(path, index=False)
    else:
        path.write_text(json.dumps({f"{name}_names": part for name, part in parts.items()}))
    called = "''" if form == "table" else "'external'"
    with pytest.raises(SplitError, match=f"fold 0 has slides in a part that is not known.*{called} with p10a, p10b"):
        read_splits(path, cohort)


def test_columns_beside_the_parts_may_hold_what_they_like(cohort, tmp_path):
    parts = {"train": slides_of(0, 1, 2, 3), "train_label": list("01010101"), "test": slides_of(8, 9)}
    pd.DataFrame({name: pd.Series(part) for name, part in parts.items()}).to_csv(tmp_path / "splits_0.csv")
    splits = read_splits(tmp_path, cohort)
    assert len(splits.fold(0).train + splits.fold(0).val) == 8
    said = "12 slides of the cohort are in no part of any fold: p04a, p04b, p05a, p05b, p06a and 7 more"
    assert splits.remarks(cohort)[0] == said
    parts["val"], parts["validation"] = slides_of(4), slides_of(5)
    pd.DataFrame({name: pd.Series(part) for name, part in parts.items()}).to_csv(tmp_path / "splits_0.csv")
    with pytest.raises(SplitError, match="two parts that are val"):
        read_splits(tmp_path, cohort)


def test_two_files_of_one_number_are_refused(cohort, tmp_path):
    write_clam(tmp_path / "splits_0.csv", slides_of(0, 1, 2, 3), slides_of(4, 5), slides_of(6, 7))
    (tmp_path / "split_0.json").write_text("{}")
    with pytest.raises(SplitError, match=r"the same number.*split_0.json, splits_0.csv"):
        read_splits(tmp_path, cohort)


def test_a_table_of_folds_tests_each_once(cohort, tmp_path):
    table = pd.DataFrame({"slide": cohort.slides, "fold": [i // 8 + 1 for i in range(24)]})
    table.to_csv(tmp_path / "folds.csv", index=False)
    splits = read_splits(tmp_path / "folds.csv", cohort)
    assert [splits.fold(k).test for k in splits.folds] == [slides_of(*range(k, k + 4)) for k in (0, 4, 8)]
    for value in ("1.5", "inf", "one"):
        table.assign(fold=value).to_csv(tmp_path / "folds.csv", index=False)
        with pytest.raises(SplitError, match="not whole numbers"):
            read_splits(tmp_path / "folds.csv", cohort)
    table["fold"] = [-1, *table["fold"][1:]]  # "in no fold", or "train in all", or a fold
    table.to_csv(tmp_path / "folds.csv", index=False)
    with pytest.raises(SplitError, match=r"below 0, and it is not known.*-1 with p00a"):
        read_splits(tmp_path / "folds.csv", cohort)


def test_by_site_needs_sites(cohort):
    with pytest.raises(SplitError, match="no sites"):
        make_splits(cohort, folds=2, by_site=True)
    sites = cohort.table.assign(site=[f"h{i // 12}" for i in range(24)])
    with pytest.raises(SplitError, match=r"3 folds need as many sites.*--folds 2"):
        make_splits(read_cohort(sites), folds=3, by_site=True)


def test_real_clam_splits(data_dir):
    cohort = read_cohort(data_dir / "tables/clam/tumor_vs_normal_dummy_clean.csv")
    splits = read_splits(data_dir / "tables/clam/splits_task1", cohort)
    assert splits.folds == [0, 1, 2]
    summary = splits.summary().set_index(["fold", "part"])
    descriptor = pd.read_csv(data_dir / "tables/clam/splits_task1/splits_0_descriptor.csv", index_col=0)
    for part in ("train", "val", "test"):
        for name in cohort.classes:
            assert summary.loc[(0, part), name] == descriptor.loc[name, part]


def test_real_acmil_splits(data_dir):
    table = pd.read_csv(data_dir / "tables/camelyon16/flamby/labels.csv", dtype=str)
    cohort = read_cohort(table, label="tumor")
    splits = read_splits(data_dir / "tables/camelyon16/acmil_splits", cohort)
    assert len(splits.folds) == 5
    assert [len(part) for part in splits.fold(0)] == [242, 27, 129]


def test_real_survpath_splits_report_on_the_part_called_val(data_dir):
    folder = data_dir / "tables/tcga/survpath"
    cohort = read_cohort(folder / "metadata/tcga_blca.csv", label="is_female")
    with pytest.raises(SplitError, match=r"no test part.*name the part that is reported 'test'"):
        read_splits(folder / "splits/tcga_blca", cohort)


def test_splits_whose_names_became_floats_are_read(tmp_path):
    names = [str(1000 + i) for i in range(12)]
    rows = pd.DataFrame({"slide": names, "case": [str(i // 2) for i in range(12)], "label": ["a", "a", "b", "b"] * 3})
    cohort = read_cohort(rows)
    for of in ([f"{name}.0" for name in names], [f"{i // 2}.0" for i in range(12)]):
        parts = {"train": of[4:], "test": of[:4]}
        table = pd.DataFrame({part: pd.Series(list(dict.fromkeys(own))) for part, own in parts.items()})
        table.to_csv(tmp_path / "splits_0.csv")
        assert sorted(read_splits(tmp_path, cohort).fold(0).test) == names[:4]
    padded = read_cohort(rows.assign(slide=[f"{i + 1:04d}" for i in range(12)], case=[f"c{i}" for i in range(12)]))
    pd.DataFrame({"train": ["1.0", "2.0"], "test": ["3.0", "4.0"]}).to_csv(tmp_path / "splits_0.csv")
    with pytest.raises(SplitError, match="lost their zeros in front"):
        read_splits(tmp_path, padded)


def test_folds_that_test_one_class_only_are_named():
    cohort = read_cohort(pd.DataFrame({"slide": list("abcdefgh"), "label": ["x", "y"] * 4}))
    rows = [(s, f, "test" if (s in "ac") == (f == 0) else "train") for f in (0, 1) for s in cohort.slides]
    table = pd.DataFrame(rows, columns=["slide", "fold", "part"])
    label = dict(zip(cohort.slides, cohort.table["label"], strict=True))
    splits = Splits(table.assign(case=table["slide"], label=table["slide"].map(label)))
    (said,) = splits.remarks(cohort)
    assert said == "1 of 2 folds test slides of one class only, where AUROC is not defined: fold 0 (x)"


def test_a_training_part_without_events_is_found_before_training():
    events = ["1"] + ["0"] * 11
    rows = pd.DataFrame({"slide": list("abcdefghijkl"), "time": [str(i + 1) for i in range(12)], "event": events})
    for name in ("survival", "survival_cox"):
        with pytest.raises(SplitError, match=r"fold \d: a training part has (too few events|no event)"):
            make_splits(read_cohort(rows, task=create_task(name)), folds=3)
    enough = rows.assign(event=["1", "0"] * 6)
    assert len(make_splits(read_cohort(enough, task=create_task("survival")), folds=3).folds) == 3


def test_a_validation_part_that_was_drawn_is_said(tmp_path):
    cohort = read_cohort(pd.DataFrame({"slide": [f"s{i:02d}" for i in range(24)], "label": ["a", "b"] * 12}))
    rows = pd.DataFrame({"slide": cohort.slides, "part": ["train"] * 16 + ["test"] * 8})
    rows.to_csv(tmp_path / "two.csv", index=False)
    says = "1 of 1 folds are given without validation slides that can be used, so some are drawn from train (4 in each)"
    assert read_splits(tmp_path / "two.csv", cohort, val_fraction=0.25).remarks(cohort) == [says]
    rows.assign(part=["train"] * 12 + ["val"] * 4 + ["test"] * 8).to_csv(tmp_path / "three.csv", index=False)
    assert read_splits(tmp_path / "three.csv", cohort).remarks(cohort) == []


def test_json_of_other_programs_is_read_and_a_name_that_is_there_twice_is_refused(tmp_path):
    cohort = read_cohort(pd.DataFrame({"slide": [f"s{i:02d}" for i in range(24)], "label": ["a", "b"] * 12}))
    parts = {"train_names": cohort.slides[:12], "val_names": cohort.slides[12:16], "test_names": cohort.slides[16:]}
    (tmp_path / "s.json").write_text("\ufeff" + json.dumps(parts), encoding="utf-8")
    assert read_splits(tmp_path / "s.json", cohort).fold(0).val == cohort.slides[12:16]
    (tmp_path / "s.json").write_text('{"train_names": ["s00"], ' + json.dumps(parts)[1:])
    with pytest.raises(SplitError, match="there twice: train_names"):
        read_splits(tmp_path / "s.json", cohort)
