"""Engines: every task is done though processes die, and what a task raises ends only that task."""

import importlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
import types
from multiprocessing import resource_tracker
from pathlib import Path

import pytest

from asmil.errors import RunError
from asmil.extraction import WorkerDied, engines, run_tasks
from asmil.extraction.engines import sendable

ENGINES = [
    "local",
    pytest.param(
        "ray",
        marks=[
            pytest.mark.slow,
            pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed"),
        ],
    ),
]


@pytest.fixture
def tasks(monkeypatch):
    """The module of tasks, where other processes find it too."""
    folder = str(Path(__file__).parent)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", folder, prepend=os.pathsep)
    return importlib.import_module("engine_tasks")


@pytest.mark.parametrize("engine", ENGINES)
def test_every_task_is_done_though_a_process_is_killed(tasks, engine, tmp_path):
    work = [(f"t{i}", 3, str(tmp_path / "died") if i == 1 else "") for i in range(4)]
    events = list(run_tasks(tasks.count, work, engine=engine, workers=2))
    assert (tmp_path / "died").exists()
    for index, (name, n, _) in enumerate(work):
        seen = [event[:2] for at, event in events if at == index]
        assert seen[-n:] == [(name, i) for i in range(n)]
        assert len(seen) == n or index == 1
    assert os.getpid() not in {event[2] for _, event in events}


def test_what_a_process_logs_is_heard_where_it_was_started_as_far_as_that_listens(tasks, caplog):
    for level, heard in (("INFO", []), ("DEBUG", ["at work on b"])):
        with caplog.at_level(level, logger="asmil"):
            caplog.clear()
            assert list(run_tasks(tasks.log_it, ["b"])) == [(0, "b")]
            assert [r.getMessage() for r in caplog.records if r.name == "asmil.of.a.worker"] == heard


PRIVATE = """
import json, os, sys
from pathlib import Path
from asmil.extraction import run_tasks
import engine_tasks

def children(pid):
    below = [int(c) for t in Path(f"/proc/{pid}/task").iterdir() for c in (t / "children").read_text().split()]
    return [pid, *(p for child in below for p in children(child))]

def listening():
    files = [fd for pid in children(os.getpid()) for fd in Path(f"/proc/{pid}/fd").iterdir()]
    own = {os.readlink(fd) for fd in files if fd.is_symlink()}
    rows = [line.split() for kind in ("tcp", "tcp6") for line in Path(f"/proc/net/{kind}").read_text().split("\\n")[1:]]
    return sorted({row[1].split(":")[0] for row in rows if row and row[3] == "0A" and f"socket:[{row[9]}]" in own})

found = []
for _, event in run_tasks(engine_tasks.surroundings, [None], engine="ray", workers=1):
    found.append({"environment": event, "listening": listening()})
import ray
print(json.dumps(found))
"""
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
"""127.0.0.1, the same in IPv6, and ::1, as /proc/net has them."""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="sockets are looked up in /proc")
def test_ray_on_one_machine_is_private(tasks, tmp_path):
    """Before: six ports on all interfaces, and whoever reached one could run code."""
    (tmp_path / "home").write_text("no folder")
    environment = os.environ | {"HOME": str(tmp_path / "home")}
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-c", PRIVATE], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout.splitlines()[-1])
    assert len(found["listening"]) >= 1
    assert set(found["listening"]) <= LOOPBACK
    assert found["environment"]["RAY_AUTH_MODE"] == "token"
    assert len(found["environment"]["RAY_AUTH_TOKEN"]) == 64


@pytest.mark.parametrize(("address", "private"), [("head:6379", False), ("auto", False), ("local", True), (None, True)])
def test_only_a_cluster_of_our_own_is_told_how_to_be_private(monkeypatch, address, private):
    """On a shared one both sides have to agree: nothing is set by us, and never is authentication put off."""
    environment = {} if address is None else {"RAY_ADDRESS": address}
    monkeypatch.setattr(os, "environ", environment)
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    with pytest.raises(RunError, match="not installed"):
        engines._ray()
    assert (environment.get("RAY_AUTH_MODE") == "token") is private
    assert ("RAY_AUTH_TOKEN" in environment) is private


def test_a_process_is_used_again(tasks):
    events = list(run_tasks(tasks.count, [("a", 1, ""), ("b", 1, ""), ("c", 1, "")], workers=1))
    assert [event[0] for _, event in events] == ["a", "b", "c"]
    assert len({event[2] for _, event in events}) == 1


def test_an_error_ends_its_task_only_and_says_where(tasks):
    events = list(run_tasks(tasks.fail, ["raise", "end"], workers=1))
    assert [event for _, event in events if isinstance(event, str)] == ["raise", "end"]
    (error,) = [event for _, event in events if isinstance(event, BaseException)]
    assert isinstance(error, ValueError)
    assert "in fail" in "".join(error.__notes__)


def test_a_task_that_ends_its_process_is_given_up(tasks):
    events = list(run_tasks(tasks.die_at_once, ["x"], workers=2, tries=2))
    assert [type(event) for _, event in events] == [WorkerDied]
    assert "died 2 times" in str(events[0][1])


SCRIPTED = """
import engine_tasks
from asmil.extraction import run_tasks

class Own(str):
    pass

for _, event in run_tasks(engine_tasks.count, [({kind}("a"), 1, "")], workers=1):
    print(event)
"""


def scripted(kind: str, tmp_path: Path) -> str:
    """What a script without `if __name__ == "__main__":` prints whose task holds text of this kind."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPTED.format(kind=kind))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


def test_a_script_is_not_run_again_by_its_processes(tasks, tmp_path):
    assert len(scripted("str", tmp_path).splitlines()) == 1


def test_a_script_whose_own_parts_are_needed_is_told_how(tasks, tmp_path):
    said = scripted("Own", tmp_path)
    assert "died 2 times" in said
    assert 'below `if __name__ == "__main__":`' in said


def test_a_task_that_no_other_process_can_read_is_an_error_of_its_own(tasks, monkeypatch):
    own = type("Own", (str,), {"__module__": "of_this_process"})
    monkeypatch.setitem(sys.modules, "of_this_process", types.SimpleNamespace(Own=own))
    ((_, error), (_, event)) = run_tasks(tasks.count, [(own("a"), 1, ""), ("b", 1, "")], workers=1)
    assert "does not find" in str(error)
    assert event[0] == "b"


def test_abandoned_tasks_are_stopped(tasks):
    running = run_tasks(tasks.count, [("a", 10**9, "")], workers=1)
    _, (_, _, pid) = next(running)
    running.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_an_unknown_engine_is_named(tasks):
    with pytest.raises(RunError, match="'slurm'"):
        list(run_tasks(tasks.count, [], engine="slurm"))


def test_an_error_that_cannot_travel_becomes_its_text():
    class Local(Exception):
        pass

    assert str(sendable(Local("what happened"))) == "Local: what happened."
    assert isinstance(sendable(ValueError("v")), ValueError)


SLOW = """
import os, time
from pathlib import Path
place = Path(PLACE)
if os.getpid() != PARENT:
    place.with_suffix(".partial").write_text(str(os.getpid()))
    place.with_suffix(".partial").rename(place)
    while place.exists():
        time.sleep(0.01)
def work(task):
    yield task
"""


def test_ctrl_c_does_not_reach_a_process_that_still_imports(tasks, tmp_path, monkeypatch, capfd):
    """The process that started it says when to stop; a traceback of each worker says nothing to anybody."""
    place = tmp_path / "importing"
    (tmp_path / "slow_tasks.py").write_text(SLOW.replace("PLACE", repr(str(place))).replace("PARENT", str(os.getpid())))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)

    def interrupt():
        while not place.exists():
            time.sleep(0.01)
        os.kill(int(place.read_text()), signal.SIGINT)
        place.unlink()

    resource_tracker._resource_tracker._stop()  # the first process of a program starts it, and it lets signals through
    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    events = list(run_tasks(importlib.import_module("slow_tasks").work, ["a"], workers=1, tries=1))
    thread.join(timeout=60)
    assert events == [(0, "a")]
    assert "Traceback" not in capfd.readouterr().err
