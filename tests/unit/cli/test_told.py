"""What every command tells alike: one JSON object at its end, warnings alone, or what is opened and written."""

import json
import logging
import shlex
from importlib.metadata import version

import pytest
from typer.testing import CliRunner

from asmil.cli import _load, app, command_summaries
from asmil.cli.parts.told import WITHOUT


@pytest.fixture(scope="module")
def call():
    """Call a command: exit code, stdout, stderr."""

    def invoke(*arguments):
        done = CliRunner().invoke(app, [str(text) for text in arguments])
        return done.exit_code, done.stdout, done.stderr

    return invoke


@pytest.fixture(scope="module")
def made(call, crossval_of, tmp_path_factory):
    """A run with one feature file that cannot be read, and what the command told as JSON."""
    folder = tmp_path_factory.mktemp("told")
    command = crossval_of(folder)
    sorted((folder / "features").glob("*.h5"))[0].write_bytes(b"no features")
    return folder / "run", call(*command, "--out", folder / "run", "--json")


def test_json_is_one_object_on_stdout_with_all_there_is_to_know(made, call):
    out, (code, stdout, stderr) = made
    (line,) = stdout.splitlines()
    told = json.loads(line)
    assert (code, told["exit_code"], told["command"], told["version"]) == (1, 1, "crossval", version("asmil"))
    assert told["outcome"]["done"] == 11
    (lost,) = told["outcome"]["set_aside"]
    assert lost.keys() == {"name", "result", "stage", "reason"}
    assert (lost["result"], lost["stage"]) == ("failed", "data")
    assert told["paths"] == {"run": [str(out)]}
    assert 0 < told["metrics"]["val_loss"]["value"] < 5
    assert told["error"] is None
    assert f"next: asmil evaluate {out}" in stderr

    code, stdout, _ = call("evaluate", out, "--bootstrap", 20, "--json")
    told, metrics = json.loads(stdout), json.loads((out / "metrics.json").read_text())
    assert (code, told["outcome"]["set_aside"]) == (0, [])
    assert told["metrics"]["auroc"] == metrics["test"]["auroc"]
    assert told["metrics"]["sensitivity"] == metrics["operating_point"]["sensitivity"]
    assert told["paths"] == {"predictions": [str(out / "predictions.csv")], "metrics": [str(out / "metrics.json")]}


@pytest.mark.parametrize(
    ("arguments", "what", "fix"),
    [
        (["evaluate", "nowhere"], "nowhere is not a run", "give a folder"),
        (["crossval", "--folds", 1], "", "lists them all"),
        (["run", "--bogus"], "No such option", None),  # what follows goes by the version of typer
        (["evaluate"], "Missing argument", None),
    ],
)
def test_json_says_what_went_wrong(call, arguments, what, fix):
    code, stdout, stderr = call(*arguments, "--json")
    told = json.loads(stdout)
    assert (code, told["exit_code"]) == (2, 2)
    assert told["error"]["what"].startswith(what)
    assert fix is None or fix in f"{told['error']['what']} {told['error']['fix']}"
    assert told["error"]["what"].splitlines()[0] in stderr


def test_quiet_is_silent_but_for_what_is_wrong(made, call):
    out, _ = made
    assert call("evaluate", out, "--bootstrap", 20, "--quiet") == (0, "", "")
    code, stdout, stderr = call("check", "--features", out.parent / "features", "--labels", out.parent / "labels.csv",
                                "--folds", 2, "--quiet")  # fmt: skip
    assert (code, stdout) == (1, "")
    assert "failed" in stderr
    code, stdout, stderr = call("evaluate", "nowhere", "--quiet")
    assert (code, stdout) == (2, "")
    assert stderr.startswith("error: nowhere is not a run")


def test_verbose_says_what_is_written_and_only_then(made, call):
    out, _ = made
    code, stdout, stderr = call("evaluate", out, "--bootstrap", 20, "--verbose")
    assert code == 0
    assert f"asmil.files: wrote {out / 'metrics.json'}" in stderr
    assert "asmil.runs.records: evaluate: begins" in stderr
    assert "wrote" not in stdout
    logger = logging.getLogger("asmil")
    assert (logger.handlers, logger.level) == ([], logging.NOTSET)
    assert call("evaluate", out, "--bootstrap", 20)[2] == ""


@pytest.mark.parametrize("name", command_summaries())
def test_every_command_on_a_cohort_or_run_takes_the_flags(name):
    flags = {flag for option in _load(name).params for flag in option.opts}
    assert ({"--quiet", "--verbose", "--json"} <= flags) == (name not in WITHOUT)


def test_what_is_told_to_be_typed_next_can_be_pasted_whatever_the_paths_hold(call, crossval_of, tmp_path):
    folder = tmp_path / "Dr. O'Hara's data (2), $new"
    folder.mkdir()
    out = folder / "run 1"
    code, stdout, _ = call(*crossval_of(folder), "--out", out)
    assert code == 0
    (line,) = [line for line in stdout.splitlines() if line.startswith("next: ")]
    assert shlex.split(line.removeprefix("next: ")) == ["asmil", "evaluate", str(out)]
    code, _, stderr = call("report", out)
    assert (code, "was not evaluated" in stderr) == (2, True)
    (fix,) = [line for line in stderr.splitlines() if line.startswith("fix:")]
    assert shlex.split(fix.removeprefix("fix:")) == ["asmil", "evaluate", str(out)]


@pytest.mark.parametrize("column", ["patient's no.", 'the "patient"', "patient `b $c"])
def test_a_flag_that_is_asked_for_can_be_pasted_whatever_the_column_is_called(column, call, crossval_of, tmp_path):
    people = {column: [f"P{i // 2}" for i in range(12)], "label": ["no", "no", "yes", "yes"] * 3}
    command = [*crossval_of(tmp_path, **people), "--folds", 3, "--out", tmp_path / "run"]
    code, _, stderr = call(*command)
    assert (code, "may name the patients" in stderr) == (2, True)
    (fix,) = [line for line in stderr.splitlines() if line.startswith("fix:")]
    flag = shlex.split(fix.removeprefix("fix:").partition(" if it does")[0])
    assert flag == ["--case-column", column]
    code, _, stderr = call(*command, *flag)
    assert code == 0, stderr
