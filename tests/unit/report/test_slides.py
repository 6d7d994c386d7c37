"""What to look at first: the surest errors, the slides that seeds disagree on, and what was lost."""

import shutil

import pandas as pd
import pytest

from asmil.errors import RunError
from asmil.report import write_paper_figure
from asmil.report.slides import first_section, places, pointed_at, right_slides, wrong_section, wrong_slides
from asmil.runs import Run


def decide(run, threshold, **probability):
    """The run with one threshold, and these probabilities of tumour by slide."""
    table = pd.read_csv(run / "predictions.csv").set_index("slide", drop=False)
    for slide, value in probability.items():
        table.loc[slide, ["prob_benign", "prob_tumour"]] = [1 - value, value]
    table.assign(threshold=threshold).to_csv(run / "predictions.csv", index=False)
    return Run(run)


def test_a_slide_is_wrong_by_the_threshold_and_the_farthest_from_it_comes_first(run):
    benign, tumour = ["case-000_a", "case-000_b", "case-002_a", "case-002_b", "case-004_a", "case-004_b"], 0.9
    files = decide(
        run, 0.3, **dict.fromkeys(benign, 0.1), **{f"case-00{i}_{side}": tumour for i in (1, 3, 5) for side in "ab"}
    )
    assert wrong_slides(files).empty
    files = decide(run, 0.3, **{"case-000_a": 0.4, "case-002_b": 0.95, "case-003_a": 0.25, "case-005_b": 0.001})
    wrong = wrong_slides(files)
    assert list(wrong["slide"]) == ["case-005_b", "case-002_b", "case-000_a", "case-003_a"]
    assert list(wrong["wrong"]) == ["missed", "false alarm", "false alarm", "missed"]
    assert wrong["called"].tolist() == ["benign", "tumour", "tumour", "benign"]
    section = wrong_section(files, places(files, ["case-005_b"], {}), shown=["case-005_b"])
    assert "4 of 12 slides were decided otherwise than labelled" in section.says[0]
    assert "Pictures of 1 of them" in section.says[0]
    (rest,) = section.tables
    assert rest.title == "Without a picture here: 3 slides"
    assert [row[0].text for row in rest.rows] == list(wrong["slide"])[1:]
    assert rest.rows[0][0].link == "#slide-6"
    assert [entry.text for entry in rest.rows[0][4:]] == ["0.950", "0.300", "✗ false alarm"]
    assert not set(wrong["slide"]) & set(right_slides(files))
    assert pointed_at(files, ["case-001_a"])[:4] == list(wrong["slide"])


def test_without_a_threshold_the_most_probable_class_is_decided_for(run):
    files = decide(run, 0.3, **{"case-000_a": 0.4})
    assert "case-000_a" in set(wrong_slides(files)["slide"])
    pd.read_csv(run / "predictions.csv").drop(columns="threshold").to_csv(run / "predictions.csv", index=False)
    assert "case-000_a" not in set(wrong_slides(Run(run))["slide"])


def test_seeds_that_disagree_are_named(run):
    for seed, prob in ((0, 0.1), (1, 0.9)):
        path = run / "folds" / "0" / f"seed_{seed}" / "predictions.csv"
        table = pd.read_csv(path)
        rows = table["part"] == "test"
        table.loc[rows, "prob_tumour"] = 0.5
        table.loc[table["slide"] == "case-000_b", "prob_tumour"] = prob
        table.to_csv(path, index=False)
    table = next(t for t in first_section(Run(run), {}).tables if t.title.startswith("Unsteady"))
    row = table.rows[0]
    assert [entry.text for entry in row[:5]] == ["case-000_b", "case-000", "benign", "0.100 – 0.900", "0.800"]
    assert 0 < float(row[5].text) < 0.7


def test_one_seed_cannot_disagree(run):
    for path in run.glob("folds/*/seed_1/predictions.csv"):
        path.unlink()
    section = first_section(Run(run), {})
    assert not any(table.title.startswith("Unsteady") for table in section.tables)
    assert "There is one seed only" in " ".join(section.notes)
    assert section.tables[-1].title == "Not in the results: 1 slide"


def test_fig4_shows_the_slides_that_are_named_with_the_map_of_each_run(finished, tmp_path):
    runs = [Run(finished), Run(shutil.copytree(finished, tmp_path / "other"))]
    png, svg = write_paper_figure("fig4", runs, tmp_path / "drawn", slides=["case-001_a", "case-002_b"])
    assert png.stat().st_size > 5000
    drawn = svg.read_text(encoding="utf-8")
    assert all(f"<!-- {word} -->" in drawn for word in ("slide", "run", "other", "case-001_a", "case-002_b"))
    with pytest.raises(RunError, match="case-999_z"):
        write_paper_figure("fig4", runs, tmp_path / "other-drawn", slides=["case-999_z"])
    assert all(path.is_file() for path in write_paper_figure("fig4", runs, tmp_path / "annotated"))
