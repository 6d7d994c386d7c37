"""What to look at first: the surest errors, the slides that seeds disagree on, and what was lost."""

import shutil

import pandas as pd
import pytest

from asmil.errors import RunError
from asmil.report import write_paper_figure
from asmil.report.slides import first_section, first_slides, places
from asmil.runs import Run


def test_the_surest_errors_come_first(run):
    table = pd.read_csv(run / "predictions.csv")
    wrong = table.index[table["label"] == "benign"][:2]
    table.loc[wrong, ["prob_benign", "prob_tumour"]] = [[0.02, 0.98], [0.005, 0.995]]
    table["predicted"] = ["tumour" if p > 0.5 else "benign" for p in table["prob_tumour"]]
    table.to_csv(run / "predictions.csv", index=False)
    files = Run(run)
    links = places(files, ["case-001_a"], {})
    first = first_section(files, links).tables[0]
    assert first.title.startswith("Sure and wrong")
    assert [row[0].text for row in first.rows[:2]] == list(table["slide"][wrong[::-1]])
    assert [float(row[4].text) for row in first.rows] == sorted((float(r[4].text) for r in first.rows), reverse=True)
    assert links["case-001_a"] == "#map-1"
    assert links[table["slide"][0]] == "#slide-1"
    assert places(files, [], {table["slide"][0]: "figures/a.png"})[table["slide"][0]] == "figures/a.png"
    assert first_slides(files)[:2] == list(table["slide"][wrong[::-1]])


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
