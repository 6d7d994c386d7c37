"""What runs of other tasks add to the page: headline, figures, tables, and nothing where nothing was recorded."""

import json

import numpy as np
import pandas as pd
import pytest

from asmil.evaluation import evaluate_task
from asmil.report.tasks import NAMES, task_part
from asmil.runs import Run
from asmil.tasks import create_task

N = 60
RNG = np.random.default_rng(0)
TASKS = {
    "survival": {"columns": ("OS_MONTHS", "OS_STATUS"), "times": (2, 6)},
    "survival_cox": {"columns": ("OS_MONTHS", "OS_STATUS")},
    "regression": {"columns": ("purity",)},
    "ordinal": {"columns": ("isup",), "levels": ("1", "2", "3")},
    "multilabel": {"columns": ("er", "<her2>")},
}


def run_of(name: str, folder) -> Run:
    """A folder with what a run of this task leaves for the report: tested and validated rows, and their metrics."""
    task = create_task(name, **TASKS[name])
    risk = RNG.normal(size=N)
    targets = {
        "target_time": RNG.exponential(5 * np.exp(-risk)), "target_event": (np.arange(N) % 3 > 0) * 1.0,
        "target_purity": risk, "target_isup": np.digitize(risk, [-0.5, 0.5]) * 1.0,
        "target_er": (risk > 0) * 1.0, "target_<her2>": np.where(risk < -1, np.nan, risk > 0.5),
    }  # fmt: skip
    noisy = risk + RNG.normal(0, 0.5, N)
    levels = RNG.dirichlet(np.ones(3), N)
    values = {
        "risk": noisy,
        "survival_2": np.exp(-np.exp(noisy) / 3),
        "survival_6": np.exp(-np.exp(noisy)),
        "value": noisy,
    }
    values |= {f"level_{i + 1}": levels[:, i] for i in range(3)}
    values |= {"prob_er": 1 / (1 + np.exp(-noisy)), "prob_<her2>": 1 / (1 + np.exp(-noisy))}
    kept = [f"target_{target}" for target in task.target_names] + list(task.value_names)
    names = [f"s{i}" for i in range(N)]
    table = pd.DataFrame({"slide": names, "case": names, "label": "q1", "fold": np.arange(N) % 2} | targets | values)
    table = table[["slide", "case", "label", "fold", *kept]]
    rows = pd.concat([table.assign(part="test"), table.assign(part="val", fold=1 - table.fold)])
    metrics = {"task": name, **evaluate_task(rows, task, n_boot=20)}
    table.to_csv(folder / "predictions.csv", index=False)
    table[["slide", "case", "label"]].to_csv(folder / "cohort.csv", index=False)
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "task.json").write_text(json.dumps({"name": name, "options": task.options()}))
    return Run(folder)


@pytest.mark.parametrize("name", TASKS)
def test_every_metric_has_a_name_and_the_headline_is_one_of_them(name, tmp_path):
    files = run_of(name, tmp_path)
    part = task_part(files)
    assert set(files.metrics["test"]) <= set(NAMES)
    assert part.metric in files.metrics["test"]
    assert part.sections


def test_survival_shows_groups_with_the_unit_of_time(tmp_path):
    files = run_of("survival", tmp_path)
    (section,) = task_part(files).sections
    assert len(section.figures) == 2
    text = " ".join(section.says)
    assert "log-rank" in text
    assert "median risk of the validation patients" in text
    assert "months" in section.tables[0].columns[3]
    assert sum(int(row[1].text) for row in section.tables[0].rows) == N
    assert section.warns, "40 events are few"
    assert "months" in section.figures[0].svg


def test_cox_shows_groups_but_no_predicted_survival(tmp_path):
    assert len(task_part(run_of("survival_cox", tmp_path)).sections[0].figures) == 1


def test_each_label_has_a_row_with_its_known_slides(tmp_path):
    files = run_of("multilabel", tmp_path)
    rows = task_part(files).sections[0].tables[0].rows
    assert [row[0].text for row in rows] == ["er", "<her2>"]
    assert int(rows[1][1].text) == pd.read_csv(tmp_path / "predictions.csv")["target_<her2>"].notna().sum() < N
    assert "–" in rows[0][3].interval


@pytest.mark.parametrize("name", TASKS)
def test_what_was_not_recorded_is_left_out(name, tmp_path):
    pd.DataFrame({"slide": ["a"], "case": ["a"], "label": ["q1"]}).to_csv(tmp_path / "predictions.csv", index=False)
    (tmp_path / "metrics.json").write_text(json.dumps({"task": name, "test": {}}))
    part = task_part(Run(tmp_path))
    assert part.metric == ""
    assert not [figure for section in part.sections for figure in section.figures]
