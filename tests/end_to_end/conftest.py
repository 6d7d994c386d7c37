"""One small cohort drawn and one run made of it, shared by the tests of the whole line."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from asmil.cli import app
from asmil.slides import make_slides

MAIN = "import sys; from asmil.cli import main; sys.argv[0] = 'asmil'; main()"
QUICK = {
    "tile_px": 64,
    "folds": 2,
    "seeds": 1,
    "epochs": 4,
    "patience": 4,
    "workers": 1,
    "bootstrap": 50,
    "heatmaps": 2,
}


def flags(settings: dict) -> list[str]:
    """Settings as flags of the command line."""
    return [text for name, value in settings.items() for text in (f"--{name.replace('_', '-')}", str(value))]


def store_of(out: Path) -> Path:
    """The folder of features under an output folder where there is one kind."""
    (store,) = [path for path in (out / "features").iterdir() if path.is_dir()]
    return store


def feature_files(out: Path) -> list[Path]:
    """The feature files of that folder."""
    return sorted(store_of(out).glob("[!.]*.h5"))


@pytest.fixture(scope="session")
def asmil():
    """A function that runs `asmil ARGUMENTS` in a process of its own and returns it with its output."""

    def run(*arguments: object, code: int | None = 0) -> subprocess.CompletedProcess:
        done = subprocess.run(
            [sys.executable, "-c", MAIN, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=300,
            env=environment(),
        )
        assert code is None or done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return run


@pytest.fixture(scope="session")
def inside():
    """A function that invokes `asmil ARGUMENTS` within this process, which has loaded torch, and returns its result."""

    def run(*arguments: object, code: int = 0) -> Result:
        done = CliRunner().invoke(app, [str(text) for text in arguments])
        assert done.exit_code == code, f"exit {done.exit_code}\n{done.output}\n{done.exception!r}"
        return done

    return run


@pytest.fixture(scope="session")
def start_asmil():
    """A function that starts `asmil ARGUMENTS` (after the code `before`) as the head of a process group."""

    def start(*arguments: object, before: str = "") -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-c", f"{before}\n{MAIN}", *map(str, arguments)],
            start_new_session=True, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    return start


def environment() -> dict[str, str]:
    """One thread, so that the same work is the same bits."""
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": ""}


@pytest.fixture(scope="session")
def cohort(tmp_path_factory) -> Path:
    """Ten patients with one small slide each, and the three awkward slides."""
    folder = tmp_path_factory.mktemp("cohort")
    return make_slides(folder, patients=10, slides_per_patient=(1, 1), size_px=(800, 640), seed=3)


@pytest.fixture(scope="session")
def quick(cohort) -> dict:
    """The settings of the shared run, by name."""
    return {
        "slides": cohort / "slides", "labels": cohort / "labels.csv",
        "annotations": cohort / "annotations", "positive": "tumour", **QUICK,
    }  # fmt: skip


@pytest.fixture(scope="session")
def unbroken(asmil, quick, tmp_path_factory) -> Path:
    """A run made in one go; nobody writes into it."""
    out = tmp_path_factory.mktemp("unbroken") / "run"
    asmil("run", *flags(quick), "--out", out, code=1)  # 1: the awkward slides fail
    return out


@pytest.fixture
def run_copy(unbroken, tmp_path) -> Path:
    """A copy of the run to write into."""
    return Path(shutil.copytree(unbroken, tmp_path / "run"))
