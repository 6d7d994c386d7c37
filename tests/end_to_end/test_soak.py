"""Small soaks: workers on twenty slides, half of them bad, killed twice; crossval and study killed once each."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_killed_workers_lose_nothing_and_do_nothing_twice():
    command = [
        sys.executable,
        "-m",
        "benchmarks.soak",
        "--slides",
        "20",
        "--kills",
        "2",
        "--bad",
        "10",
        "--workers",
        "2",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "killed 2 of 2" in done.stdout
    assert "nothing lost, nothing twice" in done.stdout


def test_what_is_killed_and_goes_on_ends_as_if_nothing_had_happened():
    """A kill of crossval with two workers and of study with one.

    Crossval with one is killed in test_killed.py, study with two in tests/unit/study/test_end_to_end.py.
    """
    command = [sys.executable, "-m", "benchmarks.kills", "--part", "kills", "--kills", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kills: 2, in" in done.stdout
    assert "every result is the same" in done.stdout
