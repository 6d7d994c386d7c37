"""The wheel: of a copied tree, in an environment that has no other asmil; what a user does first works from it."""

import os
import shutil
import signal
import subprocess
import sys
import urllib.request
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILT_OF = ("pyproject.toml", "README.md", "LICENSE")
GIT = ("git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main")

pytest.importorskip("hatchling", reason="what builds the package comes with `make setup`")
pytest.importorskip("hatch_vcs", reason="what builds the package comes with `make setup`")


def run(*command: object, folder: Path | None = None, code: int = 0) -> str:
    """The output of a program that sees nothing of this checkout, its exit code being `code`."""
    hidden = ("PYTHONPATH", "VIRTUAL_ENV")
    clean = {name: value for name, value in os.environ.items() if name not in hidden and "SCM" not in name}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=folder, env=clean, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """The files that the package is built of, copied without their history."""
    folder = tmp_path_factory.mktemp("tree")
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for name in BUILT_OF:
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(tree, tmp_path_factory) -> Path:
    """The wheel, built with what is installed here."""
    out = tmp_path_factory.mktemp("dist")
    offline = ("--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check", "--quiet")
    run(sys.executable, "-m", "pip", "wheel", *offline, "--wheel-dir", out, tree)
    (made,) = out.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The command of an environment with the wheel; the packages that it needs are those of this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder)
    python = folder / "bin" / "python"
    offline = ("--no-deps", "--no-index", "--disable-pip-version-check", "--quiet")
    run(sys.executable, "-m", "pip", "--python", python, "install", *offline, wheel)
    own = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    (own / "needed.pth").write_text("".join(f"{path}\n" for path in sys.path if path.endswith("-packages")))
    assert Path(run(python, "-c", "import asmil; print(asmil.__file__)").strip()).is_relative_to(own)
    return folder / "bin" / "asmil"


def test_the_wheel_has_every_file_of_the_source_and_nothing_else(wheel, tree):
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert packed == {path.relative_to(tree / "src").as_posix() for path in tree.glob("src/**/*") if path.is_file()}
    assert {"asmil/py.typed", "asmil/viewer/static/index.html", "asmil/encoders/cards.toml"} <= packed


def test_it_says_its_version_its_commands_and_its_parts(installed):
    assert run(installed, "--version") == "asmil 0.1.0.dev0\n"
    assert "crossval" in run(installed, "--help")
    assert "colour-texture" in run(installed, "list")


def test_slides_become_features(installed, cohort, tmp_path):
    run(installed, "embed", "--slides", cohort / "slides", "--out", tmp_path / "out", "--tile-px", 64, code=1)
    assert len([*(tmp_path / "out" / "features").glob("*/P*.h5")]) == 10


def test_a_run_is_shown_with_all_that_its_page_loads(installed, unbroken):
    command = [installed, "view", unbroken, "--no-browser", "--port", "0"]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=clean)
    try:
        address = server.stdout.readline().split()[1]
        page = urllib.request.urlopen(address, timeout=60).read().decode()
        files = sorted((ROOT / "src/asmil/viewer/static").glob("*.[jc]s*"))
        loaded = [file.name for file in files if file.name in page]
        assert {"main.js", "style.css"} <= set(loaded)
        for file in files:
            answer = urllib.request.urlopen(f"{address}static/{file.name}", timeout=60)
            assert answer.read() == file.read_bytes()
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(60) == 0, "ctrl-C is how the viewer ends, as it says itself"


@pytest.mark.parametrize(("tag", "version"), [("v3.4.5", "3.4.5"), ("", "0.1.0.dev1+g")])
def test_the_version_is_the_tags(tag, version, tmp_path):
    for name in BUILT_OF:
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "src" / "asmil").mkdir(parents=True)
    (tmp_path / "src" / "asmil" / "__init__.py").touch()
    run(*GIT, "init", "--quiet", folder=tmp_path)
    run(*GIT, "add", ".", folder=tmp_path)
    run(*GIT, "commit", "--quiet", "-m", "all", folder=tmp_path)
    if tag:
        run(*GIT, "tag", tag, folder=tmp_path)
    assert run(sys.executable, "-m", "hatchling", "version", folder=tmp_path).startswith(version)
