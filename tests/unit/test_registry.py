"""Parts of installed packages: found by their metadata, imported when asked for, never in the place of asmil's own."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
import doc_pages as doc
from asmil.bags import FEATURE_FORMATS, open_features
from asmil.encoders import ENCODERS, create_encoder
from asmil.errors import PartError, UnknownPartError
from asmil.machine import environment
from asmil.models import MODELS, create_model, list_models, model_info
from asmil.registry import offering_packages
from asmil.slides import SLIDE_READERS, open_slide, reader_order, write_slide
from asmil.testing import check_model

PAGE = {block.title: block.text for block in doc.blocks(doc.DOCS / "own_parts.md") if block.title}
FORMAT = PAGE["src/asmil/bags/formats/vectors.py"]
READER = PAGE["src/asmil/slides/readers/numpy_slide.py"]
ENCODER = PAGE["src/asmil/encoders/own/histogram.py"]


def install(folder: Path, name: str, entries: dict[str, dict[str, str]], *, summary="Made by a test", **modules: str):
    """What an installer leaves of a package: its modules, and its metadata beside them."""
    for module, text in modules.items():
        (folder / f"{module}.py").write_text(text, encoding="utf-8")
    metadata = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nSummary: {summary}\n")
    sections = [
        f"[{group}]\n" + "\n".join(f"{k} = {v}" for k, v in points.items()) for group, points in entries.items()
    ]
    (metadata / "entry_points.txt").write_text("\n".join(sections) + "\n")


@pytest.fixture
def site(tmp_path, monkeypatch) -> Path:
    """An empty folder of packages that comes first on the path."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(folder)):
            del sys.modules[name]
    for registry in (MODELS, ENCODERS, SLIDE_READERS, FEATURE_FORMATS):
        registry._loaded.clear()


def asmil(site: Path, *arguments: str) -> subprocess.CompletedProcess:
    code = (
        "import sys; from asmil.cli import main\ntry: main()\nfinally: print('torch' in sys.modules, file=sys.stderr)"
    )
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | {"PYTHONPATH": path, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_package_of_the_page_is_a_model_like_ours(site):
    project = tomllib.loads(PAGE["my_parts/pyproject.toml"])["project"]
    install(
        site,
        project["name"],
        project["entry-points"],
        summary=project["description"],
        my_parts=PAGE["my_parts/my_parts.py"],
    )
    assert "our_mil" in list_models()
    assert MODELS.summary("our-mil") == "Of my-parts 1.0: The model of our paper, for asmil"
    assert "my_parts" not in sys.modules, "it is imported before it is asked for"
    info = model_info("our-mil")
    assert (info.description, info.aligned) == ("The mean of the embedded tiles of a slide, (tiles, dim).", "")
    assert MODELS.options("our_mil") == {"hidden": 32}
    check_model("our-mil", hidden=8).raise_if_failed()
    assert offering_packages() == {"my-parts": "1.0"}


def test_listing_needs_neither_torch_nor_the_package(site):
    broken = "raise RuntimeError('imported')"
    entries = {"asmil.models": {"theirs": "broken_models"}, "asmil.encoders": {"theirs": "broken_models:CARD"}}
    install(site, "broken-models", entries, broken_models=broken)
    done = asmil(site, "list")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Of broken-models 1.0: Made by a test") == 2
    assert done.stderr.split() == ["False"]


def test_a_name_of_asmil_stays_asmils_and_that_is_said(site):
    entries = {"asmil.models": {"ABMIL": "shadow:Other"}, "asmil.encoders": {"uni2-h": "shadow:CARD"}}
    install(site, "shadow", entries, shadow="raise RuntimeError('imported')")
    with pytest.warns(UserWarning, match=r"'abmil' is asmil's own, not that of shadow 1\.0"):
        model = create_model("abmil", in_dim=4, n_classes=2)
    assert type(model).__module__ == "asmil.models.abmil"
    assert list_models().count("abmil") == 1
    assert MODELS.packaged() == {}
    said = asmil(site, "list").stdout
    assert "not used: the model 'abmil' is asmil's own" in said
    assert "not used: the encoder 'uni2_h' is asmil's own" in said


def test_a_name_of_two_packages_is_nobodys(site):
    for package in ("first", "second"):
        install(site, package, {"asmil.models": {"both": f"{package}:M"}}, **{package: "M = dict"})
    assert "both" not in MODELS
    with pytest.raises(UnknownPartError, match=r"first 1\.0 and second 1\.0: uninstall all but one"):
        create_model("both", in_dim=4, n_classes=2)


def test_what_cannot_be_imported_is_named_and_stops_no_other(site, tmp_path):
    entries = {"asmil.readers": {"broken": "no_such_package.reader"}, "asmil.formats": {"broken": "cracked:FORMAT"}}
    install(site, "cracked", entries, cracked="import h5py\nFORMAT = 1 / 0")
    install(site, "whole", {"asmil.readers": {"numpy-slide": "whole_reader"}}, whole_reader=READER)
    write_slide(tmp_path / "a.tif", np.full((300, 300, 3), 200, np.uint8), mpp=0.5)
    with pytest.warns(UserWarning, match=r"'broken' of cracked 1\.0 cannot be used.*no_such_package"):
        order = reader_order()
    assert "broken" not in order
    assert order[-1] == "numpy_slide"
    np.savez(tmp_path / "b.npz", pixels=np.zeros((300, 300, 3), np.uint8), mpp=0.25)
    for file, reader in (("a.tif", "tiff"), ("b.npz", "numpy_slide")):
        with open_slide(tmp_path / file) as slide:
            assert slide.reader == reader
    with pytest.raises(PartError, match=r"cracked 1\.0 cannot be used.*ModuleNotFoundError"):
        open_slide(tmp_path / "a.tif", reader="broken")
    np.save(tmp_path / "s1.npy", np.ones((3, 4), np.float32))
    with pytest.warns(UserWarning, match="ZeroDivisionError"):
        assert open_features(tmp_path / "s1.npy").slides == ["s1"]
    said = asmil(site, "doctor").stdout
    assert "ZeroDivisionError" in said
    assert "slide reader. Of whole 1.0" in said


def test_a_format_and_an_encoder_of_a_package_are_used(site, tmp_path):
    import h5py

    entries = {"asmil.formats": {"vectors": "theirs_format"}, "asmil.encoders": {"histogram": "theirs_encoder:CARD"}}
    install(site, "theirs", entries, theirs_format=FORMAT, theirs_encoder=ENCODER)
    with h5py.File(tmp_path / "P1.h5", "w") as file:
        file["vectors"], file["corners"] = np.ones((3, 8), np.float32), np.array([[0, 0], [256, 0], [0, 256]])
    assert open_features(tmp_path / "P1.h5").info("P1").format == "vectors"
    assert create_encoder("histogram")(np.zeros((2, 16, 16, 3), np.uint8)).shape == (2, 24)


@pytest.mark.parametrize(
    ("group", "value", "said"),
    [
        ("asmil.models", "odd:SOME", "a class, or a function that makes a module"),
        ("asmil.models", "odd:NoModule", "no torch module"),
        ("asmil.encoders", "odd:SOME", "gives its card"),
        ("asmil.models", "odd", "no attribute 'MODEL'"),
    ],
)
def test_what_is_no_part_is_refused_in_words(site, group, value, said):
    install(site, "odd", {group: {"strange": value}}, odd="SOME = 3\nclass NoModule: pass")
    registry = {"asmil.models": MODELS, "asmil.encoders": ENCODERS}[group]
    for _ in range(2):
        with pytest.raises(PartError, match=said):
            registry["strange"]


def test_an_encoder_is_called_as_its_card_says(site):
    install(site, "renamed", {"asmil.encoders": {"other-name": "renamed_encoder"}}, renamed_encoder=ENCODER)
    with pytest.raises(PartError, match="the card of 'histogram'"):
        create_encoder("other-name")


def test_a_run_says_which_packages_offered_parts(site):
    install(site, "offering", {"asmil.models": {"some": "offering_model:M"}}, offering_model="")
    assert environment()["packages"]["offering"] == "1.0"


def test_a_room_shows_what_it_offers_before_it_is_used():
    code = "import asmil, asmil.bags; print({'run', '__doc__'} <= {*dir(asmil)}, 'FeatureStore' in dir(asmil.bags))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["True", "True"]
