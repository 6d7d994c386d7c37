"""Claims: one owner at a time, the dead are replaced, and nothing is left."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from asmil.extraction import claims as module
from asmil.extraction.claims import Claims, Owner, _beside, sole
from asmil.progress import Listener

HOLD = """
import sys, time
from asmil.extraction.claims import Claims
claims = Claims(sys.argv[1])
print(claims.take_over(sys.argv[2]).deaths, flush=True)
time.sleep(60)
"""


@pytest.fixture
def claims(tmp_path):
    with Claims(tmp_path) as own:
        yield own


def die_holding(folder, slide) -> int:
    """Let a process claim a slide and kill it; the deaths over that slide before."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, folder, slide], stdout=subprocess.PIPE, text=True)
    deaths = int(process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return deaths


def locks(folder) -> list[str]:
    return sorted(path.name for path in (folder / ".claims").iterdir())


def test_a_claimed_slide_is_nobody_elses_until_it_is_released(claims, tmp_path):
    with Claims(tmp_path) as others:
        own = claims.take("a")
        assert locks(tmp_path) == ["a.lock"]
        assert others.take("a") is None
        assert others.take_over("a") is None
        assert others.take("b").deaths == 0
        own.release()
        assert others.take("a") is not None
    assert locks(tmp_path) == []


def test_a_full_disk_is_told_with_the_file_and_nothing_is_left(claims, tmp_path, monkeypatch):
    def full(self, text):
        self.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", full)
    with pytest.raises(OSError, match=r"No space left on device.*s1\.lock"):
        claims.take("s1")
    assert locks(tmp_path) == []


def test_one_look_tells_who_is_at_work_and_reads_each_lock_once(claims, tmp_path, monkeypatch):
    with Claims(tmp_path) as others:
        for slide in "abc":
            others.take(slide)
        die_holding(tmp_path, "d")
        reads = []
        read = module.read_owner
        monkeypatch.setattr(module, "read_owner", lambda path: reads.append(path.name) or read(path))
        assert claims.busy() == {"a", "b", "c"}
        assert claims.busy() == {"a", "b", "c"}
        assert sorted(set(reads)) == ["a.lock", "b.lock", "c.lock", "d.lock"]
        assert [reads.count(f"{slide}.lock") for slide in "abc"] == [1, 1, 1]
    assert claims.busy() == set()


def test_a_process_that_dies_here_is_seen_at_the_next_look(claims, tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path, "a"], stdout=subprocess.PIPE, text=True)
    process.stdout.readline()
    assert claims.busy() == {"a"}
    process.kill()
    process.wait()
    assert claims.busy() == set()


def test_a_machine_that_falls_silent_is_seen_when_its_claim_is_looked_at_again(claims, tmp_path, monkeypatch):
    lock = tmp_path / ".claims" / "a.lock"
    lock.write_text(replace(Owner.here(), machine="elsewhere").text())
    assert claims.busy() == {"a"}
    os.utime(lock, (1, 1))
    assert claims.busy() == {"a"}  # it was heard of a moment ago
    later = time.monotonic() + module.HEARTBEAT_SECONDS
    monkeypatch.setattr(module.time, "monotonic", lambda: later)
    assert claims.busy() == set()


def test_the_dead_are_replaced_and_counted(claims, tmp_path):
    assert die_holding(tmp_path, "a") == 0
    assert claims.take("a") is None
    assert claims.left_behind() == ["a"]
    assert die_holding(tmp_path, "a") == 1
    own = claims.take_over("a")
    assert own.deaths == 2
    assert claims.left_behind() == []
    own.release()
    assert locks(tmp_path) == []


def test_a_number_that_was_given_again_is_another_process(claims, monkeypatch):
    stranger = replace(Owner.here(), started="1", token="other")  # our number, another start
    (claims.folder / "a.lock").write_text(stranger.text())
    assert claims.take_over("a") is not None


@pytest.mark.parametrize("content", ["", "no json", None])
def test_a_silent_machine_is_dead_after_a_while_and_not_before(claims, content):
    elsewhere = replace(Owner.here(), machine="another", token="other")
    lock = claims.folder / "a.lock"
    lock.write_text(elsewhere.text() if content is None else content)
    assert claims.take_over("a") is None
    before = time.time() - module.STALE_SECONDS
    os.utime(lock, (before + 30, before + 30))
    assert claims.take_over("a") is None
    os.utime(lock, (before - 5, before - 5))
    assert claims.take_over("a").deaths == 1


def test_a_sign_of_life_from_the_future_is_that_of_a_clock_that_went_back(claims):
    lock = claims.folder / "a.lock"
    lock.write_text(replace(Owner.here(), machine="another", token="other").text())
    for ahead, dead in ((30, False), (86_400, True)):
        os.utime(lock, (time.time() + ahead,) * 2)
        assert (claims.take_over("a") is not None) == dead


def test_a_living_owner_is_heard_of(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.05)
    with Claims(tmp_path) as claims:
        lock = claims.take("a").path
        os.utime(lock, (1, 1))
        deadline = time.monotonic() + 10
        while lock.stat().st_mtime < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert lock.stat().st_mtime > 2


@pytest.mark.parametrize("links", [True, False])
def test_of_many_that_want_it_at_once_one_gets_it(tmp_path, monkeypatch, links):
    """Fresh and left behind; with hard links and on a file system without them."""

    def no_links(*_):
        raise PermissionError

    if not links:
        monkeypatch.setattr(os, "link", no_links)
    dead = replace(Owner.here(), started="1")
    many = [Claims(tmp_path) for _ in range(8)]
    for number in range(25):
        slide, gate = f"s{number}", threading.Barrier(len(many))
        if number % 2:
            (many[0].folder / f"{slide}.lock").write_text(replace(dead, token=f"dead{number}").text())

        def want(own, slide=slide, gate=gate):
            gate.wait()
            return own.take_over(slide)

        with ThreadPoolExecutor(len(many)) as pool:
            got = [claim for claim in pool.map(want, many) if claim is not None]
        assert len(got) == 1
        assert got[0].deaths == number % 2
    for own in many:
        own.close()
    assert locks(tmp_path) == []


def test_who_dies_while_taking_over_is_taken_over(claims):
    dead = replace(Owner.here(), started="1", token="first")
    (claims.folder / "a.lock").write_text(dead.text())
    (claims.folder / "a.lock.first").write_text(replace(dead, token="second").text())
    own = claims.take_over("a")
    assert own is not None
    own.release()
    assert list(claims.folder.iterdir()) == []


def test_a_claim_that_was_taken_over_is_not_released_by_its_first_owner(claims):
    own = claims.take("a")
    own.path.write_text(replace(Owner.here(), token="other").text())
    own.release()
    assert own.path.exists()
    own.path.unlink()


def test_half_a_lock_of_a_dead_process_is_swept_and_that_of_a_living_one_is_not(claims, tmp_path):
    dead = replace(Owner.here(), pid=2**22 + 1, started="1")
    (tmp_path / ".claims" / ".a.partial").write_text(dead.text())
    (tmp_path / ".claims" / ".b.partial").write_text(Owner.here().text())
    (tmp_path / ".claims" / ".c.partial").write_text("{")  # of whom it is cannot be told: until it is old
    claims.sweep()
    assert locks(tmp_path) == [".b.partial", ".c.partial"]
    with sole(tmp_path, within=".making", what="at work", hear=Listener()):
        (tmp_path / ".making" / ".a.partial").write_text(dead.text())
    assert not (tmp_path / ".making").exists()


def test_half_a_lock_in_which_nothing_was_written_is_known_by_its_name(claims, tmp_path):
    """Killed between the making of the file and its first byte."""
    folder, here = tmp_path / ".claims", Owner.here()
    away = replace(here, machine="another", pid=2**22 + 1, started="1")
    left = [_beside(folder / "a.lock", owner) for owner in (here, away, replace(away, machine=here.machine))]
    for path in left:
        path.write_text("")
    claims.sweep()
    assert [path.exists() for path in left] == [True, True, False]
