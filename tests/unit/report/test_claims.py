"""What the page says in words is what the files show, and no more."""

import json

import pandas as pd
import pytest

from asmil.report.claims import done_section, headline, trust_facts, trust_section, verdict
from asmil.runs import Run


def trusted(files: Run) -> dict[str, str]:
    """What the page says can be trusted, by heading."""
    return {heading: " ".join(says) for heading, says in trust_section(trust_facts(files, None)).words}


def test_a_leaking_split_is_named(run):
    splits = pd.read_csv(run / "splits.csv")
    rows = (splits.case == "case-000") & (splits.fold == 1) & (splits.slide == "case-000_a")
    splits.loc[rows, "part"] = "test"
    splits.to_csv(run / "splits.csv", index=False)
    files = Run(run)
    assert done_section(files).warns == (
        "Patients in two parts of one fold: 1. The results leak.", "Slides tested in more than one fold: 1.",
    )  # fmt: skip
    said = trusted(files)
    assert "Checked in the split table" not in said["What holds"]
    assert "No number of this page is then one of unseen patients" in said["What to take with care"]


def test_the_protocol_claims_what_the_files_show_and_no_more(run):
    says = " ".join(done_section(Run(run)).says)
    assert "6 patients were divided into 3 folds" in says
    assert "A model had 4 slides to train on, 4 slides to validate on, 4 slides to test on." in says
    assert "lowest loss on its validation slides" in says
    assert "12 slides of 6 patients were tested (6 of class benign and 6 of class tumour)" in says
    assert "tiles of 224 × 224 pixels at 1 µm per pixel, and resnet50" in says
    assert "the anchor (beta 0.1, momentum 0.999)" in says
    assert "patient of its own" not in trusted(Run(run))["What to take with care"]
    for name in ("splits.csv", "cohort.csv", "predictions.csv"):
        table = pd.read_csv(run / name)
        table.assign(case=table["slide"]).to_csv(run / name, index=False)
    (run / "config.yaml").write_text("select: last\n")
    assert "Every slide is listed as a patient of its own." in trusted(Run(run))["What to take with care"]
    says = " ".join(done_section(Run(run)).says)
    assert "the last one of each training counts" in says


def test_the_protocol_says_how_many_models_began_again(run):
    assert "began again" not in " ".join(done_section(Run(run)).says)
    log = next(iter(sorted(run.glob("folds/*/seed_*/log.csv"))))
    pd.read_csv(log).assign(start=2).to_csv(log, index=False)
    says = " ".join(done_section(Run(run)).says)
    assert "1 of 6 models found nothing at first" in says
    assert "began again from other random numbers" in says


@pytest.mark.parametrize(
    ("value", "ci95", "says"),
    [
        (0.55, [0.45, 0.65], "Not distinguishable from chance"),
        (0.95, [0.93, 0.97], "the 95 % interval lies above 0.5."),
        (0.8, [0.6, 0.9], "but it is wide"),
        (0.3, [0.2, 0.4], "Worse than chance"),
        (0.8, None, "No interval was computed"),
        (1.0, [1.0, 1.0], "It is a point, because every resample has the same value"),
    ],
)
def test_the_verdict_claims_no_more_than_the_interval(value, ci95, says):
    low, high = ci95 or (None, None)
    assert says in verdict(low, high, cases=100)


def logged(run, **columns) -> str:
    """What the page says with care, and what holds, once every model's log has these columns."""
    for path in sorted(run.glob("folds/*/seed_*/log.csv")):
        log = pd.read_csv(path)
        log.assign(**{name: values[: len(log)] for name, values in columns.items()}).to_csv(path, index=False)
    said = trusted(Run(run))
    return said["What holds"] + said["What to take with care"]


def test_the_page_says_when_the_anchor_began_and_whether_it_held_evenness(run):
    epochs = 8
    assert "anchor" not in logged(run)  # a run of before it was logged
    assert "The anchor began to count in epoch 4 (median of" in logged(
        run, gate=[0, 0.001, 0.009, *[0.2] * (epochs - 3)]
    )
    said = logged(run, gate=[0.001] * epochs)
    assert "the anchor stayed even until the end" in said
    assert "began to count" not in said
    said = logged(run, gate=[1.0] * epochs, entropy=[0.999] * epochs)
    assert "it may have held evenness instead of attention" in said
    assert "it may have held evenness" not in logged(run, gate=[1.0] * epochs, entropy=[0.999, *[0.9] * (epochs - 1)])


def test_a_mean_over_some_of_the_folds_says_so(run):
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["test"]["auroc"] = {"value": 0.9, "ci95": [0.8, 1.0], "folds": [2, 3]}
    (run / "metrics.json").write_text(json.dumps(metrics))
    title = headline(Run(run), None, names={"auroc": "AUROC"})["title"]
    assert title == "Test AUROC, mean of 2 of 3 folds, as it is not defined in the others"


def test_what_was_looked_for_is_said_with_what_it_cannot_see(run):
    identity = json.loads((run / "identity.json").read_text()) if (run / "identity.json").exists() else {}
    assert "under two names" not in str(trusted(Run(run)))
    said = {"tables": "slide = Slide, patient = MRN", "twins": []}
    (run / "identity.json").write_text(json.dumps(identity | {"data": identity.get("data", {}) | said}))
    holds = trusted(Run(run))["What holds"]
    assert "as the tables name them: slide = Slide, patient = MRN" in holds
    assert "no two slides are the same under two names" in holds
    said["twins"] = ["slides of the same content: a and b"]
    (run / "identity.json").write_text(json.dumps(identity | {"data": identity.get("data", {}) | said}))
    found = trusted(Run(run))
    assert "under two names" not in found["What holds"]
    assert "Slides of the same content: a and b." in found["What to take with care"]
