"""The first screen: rates with counts, the positive class and why, what to trust, what went wrong; settings last."""

import json

import pandas as pd
import pytest
import yaml

from asmil.errors import ConfigError
from asmil.report import write_report
from asmil.report.claims import answers, trust_facts
from asmil.report.sections import METRIC_NAMES
from asmil.runs import Run
from asmil.runs import write_report as written


def screen(folder) -> dict:
    run = Run(folder)
    return answers(run, None, names=METRIC_NAMES, trust=trust_facts(run, None))


def changed(folder, **settings):
    config = yaml.safe_load((folder / "config.yaml").read_text()) | settings
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def test_rates_stand_with_their_intervals_and_counts(run):
    point = json.loads((run / "metrics.json").read_text())["operating_point"]
    counts, rates = point["counts"], screen(run)["rates"]
    assert [rate["name"] for rate in rates] == ["Sensitivity", "Specificity", "PPV", "NPV"]
    assert rates[0]["value"] == f"{100 * point['sensitivity']['value']:.0f}\N{NO-BREAK SPACE}%"
    assert rates[0]["of"] == f"{counts['tp']} of {counts['tp'] + counts['fn']} of class tumour"
    assert rates[3]["of"] == f"{counts['tn']} of {counts['tn'] + counts['fn']} called benign"
    assert all("–" in rate["interval"] for rate in rates)


def test_which_class_is_positive_and_why(run):
    (said,) = screen(run)["point"]
    assert said.startswith(
        "Positive is class tumour (guessed from the names; --classes names another). A slide is called"
    )
    assert "the threshold of each fold was chosen on validation slides alone, for the best balanced accuracy" in said
    assert "PPV and NPV hold for the share of class tumour here, 50 %" in said
    changed(run, classes=["benign", "tumour"])
    assert "Positive is class tumour (named last in --classes)" in screen(run)["point"][0]


def test_an_older_evaluation_has_no_operating_point_and_says_so(run, read_page):
    metrics = json.loads((run / "metrics.json").read_text())
    del metrics["operating_point"]
    (run / "metrics.json").write_text(json.dumps(metrics))
    pd.read_csv(run / "predictions.csv").drop(columns="threshold").to_csv(run / "predictions.csv", index=False)
    found = screen(run)
    assert [rate["name"] for rate in found["rates"]][:1] == ["Balanced accuracy"]
    assert "There is no operating point: the run was evaluated before asmil chose one" in found["point"][0]
    assert "true benign, decided" in read_page(write_report(run, heatmaps=1)).words


def test_what_went_wrong_is_counted_by_kind_and_leads_there(run):
    table = pd.read_csv(run / "predictions.csv").assign(threshold=0.5)
    table["prob_tumour"] = (table["label"] == "tumour") * 0.8 + 0.1
    table.loc[table["slide"].isin(["case-000_a", "case-000_b", "case-001_a"]), "prob_tumour"] = [0.7, 0.8, 0.2]
    table.assign(prob_benign=1 - table["prob_tumour"]).to_csv(run / "predictions.csv", index=False)
    lines = dict(screen(run)["wrong"])
    assert lines["3 of 12 slides decided wrongly: 2 false alarms and 1 missed."] == "#wrong"
    assert lines["1 slide not in the results: 1 skipped."] == "#first"


def test_folds_that_keep_sites_apart_are_said_with_their_sites(run):
    """A page must not say that nothing is of another hospital where every fold is tested on one."""
    nothing = "Nothing here is of another hospital or scanner."
    assert nothing in screen(run)["care"]
    splits, cohort = pd.read_csv(run / "splits.csv"), pd.read_csv(run / "cohort.csv")
    fold_of = splits[splits["part"] == "test"].set_index("slide")["fold"]
    cohort["site"] = [("north", "south", "east")[fold_of[slide]] for slide in cohort["slide"]]
    cohort.to_csv(run / "cohort.csv", index=False)
    found = screen(run)
    assert (
        "Each fold was tested on sites that its models never saw: north (fold 0), south (fold 1) and east (fold 2)."
        in found["checked"]
    )
    assert nothing not in found["care"]
    cohort.loc[0, "site"] = "north" if cohort.loc[0, "site"] == "south" else "south"
    cohort.to_csv(run / "cohort.csv", index=False)
    assert nothing in screen(run)["care"]


def test_what_was_checked_and_what_is_to_be_taken_with_care(run):
    found = screen(run)
    assert (
        "No patient is in two parts of a fold, no slide is tested twice (split table, 6 patients)." in found["checked"]
    )
    assert "Few patients: 3 of class benign and 3 of class tumour." in found["care"]
    splits = pd.read_csv(run / "splits.csv")
    splits.loc[(splits.fold == 1) & (splits.slide == "case-000_a"), "part"] = "test"
    splits.to_csv(run / "splits.csv", index=False)
    found = screen(run)
    assert not [line for line in found["checked"] if "two parts" in line]
    assert "Patients in two parts of one fold: 1. The results leak." in found["care"]
    assert ("The split leaks: 2 problems.", "#trust") in found["wrong"]


def test_the_viewer_is_named_as_a_shell_takes_it(run):
    assert screen(run)["viewer"] == "asmil view run"
    assert screen(run.rename(run.parent / "my run"))["viewer"] == "asmil view 'my run'"


def test_settings_come_last_without_empty_rows(run, read_page):
    changed(run, tile_px=128, weights=None)
    page = read_page(write_report(run, heatmaps=0))
    assert page.headings[-1] == "Settings, environment, time"
    given = page.source.partition("Settings that were given")[2].partition("At their defaults")[0]
    assert "128 px" in given
    assert "momentum" not in given, "it is the default"
    assert "timm" not in page.source.partition(">Environment<")[2], "nothing is known of it"
    assert "Not given, which is their default: features, " in page.words
    assert "<dd>–</dd>" not in page.source


def test_a_comparison_has_no_bundle(run):
    with pytest.raises(ConfigError, match="comparison has no bundle"):
        written(run, against=run, bundle=True)


def test_a_page_that_is_sent_to_others_names_no_folder_of_the_machine(run):
    path = run / "environment.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps(known | {"made_in": "/home/zweistein/studies"}), encoding="utf-8")
    assert "zweistein" not in write_report(Run(run)).read_text(encoding="utf-8")
