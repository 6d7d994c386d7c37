"""The command line as a user meets it: discovery, laziness, messages and exit codes."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

import asmil.cli
from asmil.cli import app, command_summaries
from asmil.errors import SlideError


@pytest.fixture
def run(monkeypatch):
    """Invoke `asmil`, with a function in the place of the commands it loads where one is given."""

    def invoke(*arguments: str, function=None):
        if function:
            import typer

            def load(name: str):
                single = typer.Typer(add_completion=False)
                single.command(name=name)(function)
                return typer.main.get_command(single)

            monkeypatch.setattr(asmil.cli, "_load", load)
        return CliRunner().invoke(app, list(arguments))

    return invoke


def test_help_lists_every_file_of_the_folder_with_its_line(run):
    result = run("--help")
    assert result.exit_code == 0
    assert {"doctor", "list"} <= set(command_summaries())
    shown = " ".join(result.output.split())
    for name, summary in command_summaries().items():
        assert f"{name} {summary}"[:40] in shown


def test_help_imports_no_command():
    code = (
        "import sys; from asmil.cli import main; sys.argv = ['asmil', '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('LOADED', *(m for m in sys.modules if m.startswith('asmil.cli.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("LOADED")


def test_a_near_miss_is_named(run):
    result = run("doctr")
    assert result.exit_code == 2
    assert "Did you mean 'doctor'?" in result.output


def test_an_asmil_error_is_three_lines_and_exit_code_2(run):
    def doctor():
        raise SlideError("cannot read the slide", found="a.svs", fix="copy it again")

    result = run("doctor", function=doctor)
    assert result.exit_code == 2
    assert result.output.splitlines() == [
        "error: cannot read the slide",
        "found: a.svs",
        "fix:   copy it again",
    ]


def test_ctrl_c_is_exit_code_130(run):
    def doctor():
        raise KeyboardInterrupt

    result = run("doctor", function=doctor)
    assert result.exit_code == 130
    assert "interrupted" in result.output
    assert "Traceback" not in result.output


def test_a_bug_keeps_its_traceback(run):
    def doctor():
        raise ZeroDivisionError

    assert isinstance(run("doctor", function=doctor).exception, ZeroDivisionError)


def test_the_script_prints_its_version():
    done = subprocess.run(
        [sys.executable, "-c", "from asmil.cli import main; main()", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("asmil ")


@pytest.mark.parametrize(
    "kind", ["models", "encoders", "metrics", "readers", "formats", "normalizers", "tissue", "datasets"]
)
def test_list_names_every_part_of_a_kind(run, kind):
    import importlib

    from asmil.cli.list import REGISTRIES, Kind

    package, attribute = REGISTRIES[Kind(kind)]
    names = getattr(importlib.import_module(package), attribute).names()
    result = run("list", kind)
    assert result.exit_code == 0, result.output
    first_words = {line.split()[0].replace("-", "_") for line in result.output.splitlines() if line.strip()}
    assert set(names) <= first_words  # encoders are shown by the name on their card, with dashes


def test_list_shows_what_a_stabiliser_aligns(run):
    from asmil.cli.list import model_rows
    from asmil.models import list_models, model_info

    assert "stabiliser" in run("list", "models").output
    rows = {name: (line, aligned) for name, line, aligned in model_rows()}
    assert rows.keys() == set(list_models())
    assert rows["abmil"] == (model_info("abmil").description, model_info("abmil").aligned)
    assert rows["mean"][1] == "nothing"


def test_doctor_reports_and_succeeds(run, tmp_path):
    result = run("doctor", "--out", str(tmp_path / "not" / "yet"))
    assert result.exit_code == 0, result.output
    for word in ("asmil", "torch", "openslide", "CPU", "GiB free", "colour"):
        assert word in result.output
    assert not (tmp_path / "not").exists()
