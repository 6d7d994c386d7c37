"""The command line as a user meets it: discovery, laziness, messages and exit codes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import asmil.cli
from asmil.cli import CALLED, MEANING, ExitCode, Terminated, app, command_summaries, exit_with
from asmil.errors import ConfigError, SlideError
from asmil.progress import Outcome


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


@pytest.mark.parametrize("given", [None, "ACTIVE"])
def test_threads_without_work_sleep_unless_somebody_says_otherwise(given):
    """Read by OpenMP when torch is loaded, so it has to be there before a command is."""
    code = (
        "import os, sys; from asmil.cli import main; sys.argv = ['asmil', '--version']\n"
        "try: main()\n"
        "except SystemExit: print('torch' in sys.modules, os.environ['OMP_WAIT_POLICY'])"
    )
    own = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    env = own | ({} if given is None else {"OMP_WAIT_POLICY": given})
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.splitlines()[-1] == f"False {given or 'PASSIVE'}"


def test_a_near_miss_is_named(run):
    result = run("doctr")
    assert result.exit_code == 2
    assert "Did you mean 'doctor'?" in result.output


def test_a_command_by_the_name_that_others_give_it_is_named(run):
    for name, ours in CALLED.items():
        result = run(name, "--labels", "x.csv")
        assert result.exit_code == 2
        assert f"is called '{ours}'" in result.output
    assert not set(CALLED) & set(command_summaries())
    assert set(CALLED.values()) <= set(command_summaries())


@pytest.mark.parametrize(
    ("typed", "called"),
    [
        (["check", "--features", ""], "--features"),
        (["check", "--features="], "--features"),
        (["evaluate", " "], "an argument"),
        (["view", "run", "--port", ""], "--port"),
    ],
)
def test_an_empty_argument_is_a_variable_that_is_not_set_and_no_current_folder(run, typed, called):
    result = run(*typed)
    assert result.exit_code == 2
    assert f"Error: {called} is empty, as of a shell's variable that is not set." in result.output


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


def _outcome(**results: str) -> Outcome:
    outcome = Outcome()
    for name, result in results.items():
        getattr(outcome, result)(name, **({} if result == "ok" else {"stage": "x", "reason": "y"}))
    return outcome


ENDS = [
    (lambda: None, ExitCode.WHOLE),
    (lambda: exit_with(None), ExitCode.WHOLE),
    (lambda: exit_with(_outcome(a="ok", b="noted")), ExitCode.WHOLE),
    (lambda: exit_with(_outcome(a="ok", b="skipped")), ExitCode.SET_ASIDE),
    (lambda: exit_with(_outcome(a="failed")), ExitCode.SET_ASIDE),
    (ConfigError("wrong"), ExitCode.WRONG),
    (PermissionError(13, "may not write"), ExitCode.WRONG),
    (MemoryError(), ExitCode.WRONG),
    (ZeroDivisionError("of ours"), ExitCode.FAULT),
    (AssertionError(), ExitCode.FAULT),
    (KeyboardInterrupt(), ExitCode.INTERRUPTED),
    (Terminated(), ExitCode.TERMINATED),
]


@pytest.mark.parametrize(("end", "code"), ENDS)
def test_every_end_has_its_exit_code(run, end, code, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)

    def doctor():
        if isinstance(end, BaseException):
            raise end
        end()

    result = run("doctor", function=doctor)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    if code not in (ExitCode.WHOLE, ExitCode.SET_ASIDE):
        assert result.output.strip()


def test_the_codes_are_those_of_the_docs():
    page = (Path(__file__).parents[3] / "docs" / "cli.md").read_text(encoding="utf-8")
    table = dict(re.findall(r"(?m)^\| (\d+) \| (.+) \|$", page))
    assert table == {str(int(code)): MEANING[code] for code in ExitCode}


@pytest.mark.parametrize(
    ("command", "stop", "said"),
    [
        ("run", KeyboardInterrupt, "interrupted: what is finished is kept, and the same command goes on"),
        ("embed", Terminated, "terminated: what is finished is kept, and the same command goes on"),
        ("doctor", KeyboardInterrupt, "the same command begins anew"),
    ],
)
def test_a_stopped_command_says_how_to_go_on(run, monkeypatch, command, stop, said):
    def stopped():
        raise stop

    monkeypatch.setattr("sys.argv", ["asmil", command, "--out", "a b"])
    shown = run(command, function=stopped).output
    assert said in shown
    assert shown.endswith(f"  asmil {command} --out 'a b'\n")


@pytest.mark.parametrize("stop", ["SIGTERM", "SIGINT"])
def test_a_stop_after_the_end_of_a_command_changes_no_exit_code(stop):
    """Sent as the interpreter clears the modules, when Python has given its own handlers back."""
    code = (
        "import os, signal, sys\nimport typer\nimport asmil.cli as cli\n"
        "class Late:\n"
        f"    def __del__(self, kill=os.kill, pid=os.getpid(), stop=signal.{stop}): kill(pid, stop)\n"
        "late = Late()\n"
        "def doctor(): print('done')\n"
        "single = typer.Typer(add_completion=False)\nsingle.command(name='doctor')(doctor)\n"
        "cli._load = lambda name: typer.main.get_command(single)\n"
        "sys.argv = ['asmil', 'doctor']\ncli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_sigterm_ends_a_command_in_order():
    code = (
        "import os, signal, sys\nimport typer\nimport asmil.cli as cli\n"
        "def doctor():\n"
        "    try: os.kill(os.getpid(), signal.SIGTERM)\n"
        "    finally: print('in order', flush=True)\n"
        "single = typer.Typer(add_completion=False)\nsingle.command(name='doctor')(doctor)\n"
        "cli._load = lambda name: typer.main.get_command(single)\n"
        "sys.argv = ['asmil', 'doctor']\ncli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (143, "in order\n")
    assert done.stderr.strip().endswith("asmil doctor")


@pytest.mark.parametrize(("stop", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_stop_that_python_drops_is_not_lost(stop, code):
    """It came within a weak reference's callback, where exceptions go nowhere (seen in `asmil export`)."""
    program = (
        "import os, signal, sys, time, weakref\nimport typer\nimport asmil.cli as cli\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored by what is begun in the background
        "class Thing: pass\n"
        "def doctor():\n"
        "    thing = Thing()\n"
        f"    ref = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.{stop}))\n"
        "    del thing\n"
        "    os.write(1, b'still here')\n"  # in one piece: the stop comes again, and print has two
        "    for _ in range(600): time.sleep(0.1)\n"
        "single = typer.Typer(add_completion=False)\nsingle.command(name='doctor')(doctor)\n"
        "cli._load = lambda name: typer.main.get_command(single)\n"
        "sys.argv = ['asmil', 'doctor']\ncli.main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=50)
    assert (done.returncode, done.stdout) == (code, "still here")
    assert "Exception ignored" not in done.stderr


def test_a_fault_of_ours_is_a_short_message_and_a_file(run, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)

    def doctor():
        raise ZeroDivisionError("of ours")

    shown = run("doctor", function=doctor).output
    (file,) = tmp_path.glob("asmil-fault-*.txt")
    assert str(file) in shown
    assert "ZeroDivisionError: of ours" in shown
    assert "asmil doctor" in shown
    assert 'raise ZeroDivisionError("of ours")' in file.read_text()


def test_what_a_persons_own_model_raises_is_no_fault_of_ours(run, tmp_path, monkeypatch):
    file = tmp_path / "mine.py"
    monkeypatch.setenv("ASMIL_TRUST", str(file))

    def doctor():
        exec(compile("1 / 0", file, "exec"))

    result = run("doctor", function=doctor)
    assert result.exit_code == ExitCode.WRONG
    assert f"error: your code in {file} failed\nfound: ZeroDivisionError: division by zero" in result.output


@pytest.mark.parametrize("error", [ZeroDivisionError("of ours"), ConfigError("wrong")])
def test_the_traceback_is_shown_when_asked_for(run, monkeypatch, error):
    def doctor():
        raise error

    monkeypatch.setenv("ASMIL_TRACEBACK", "")  # set by the flag, and put back after the test
    shown = run("--traceback", "doctor", function=doctor).output
    assert "Traceback (most recent call last)" in shown


def test_a_flag_that_has_ended_says_why(run):
    result = run("crossval", "--together", "off")
    assert result.exit_code == 2
    assert "'together' has ended: the seeds of a fold always train together" in result.output


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

    from asmil.cli.list import FUNCTIONS, REGISTRIES, Kind

    package, attribute = REGISTRIES.get(Kind(kind)) or (f"asmil.{FUNCTIONS[kind][0].split('/')[0]}", FUNCTIONS[kind][1])
    names = getattr(importlib.import_module(package), attribute).names()
    result = run("list", kind)
    assert result.exit_code == 0, result.output
    first_words = {line.split()[0].replace("-", "_") for line in result.output.splitlines() if line.strip()}
    assert set(names) <= first_words  # encoders are shown by the name on their card, with dashes


def test_list_shows_who_checked_an_encoder_and_cuts_nothing(run):
    from asmil.encoders import ENCODERS

    output = run("list", "encoders").output
    assert "…" not in output
    together = "".join(output.split())
    assert "not checked" in " ".join(output.split()) or all(card.checked for card in ENCODERS.rows.values())
    assert "2026-11-29" in together


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
