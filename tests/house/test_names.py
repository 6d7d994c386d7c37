"""Public names and registered parts: they resolve, and say what they are."""

import importlib
import importlib.util
import inspect
from pathlib import Path

import pytest

import asmil
from asmil.registry import FolderRegistry

REGISTRIES = (
    ("asmil.slides", "SLIDE_READERS"),
    ("asmil.tiles", "TISSUE_METHODS"),
    ("asmil.encoders", "ENCODERS"),
    ("asmil.bags", "FEATURE_FORMATS"),
    ("asmil.bags.datasets", "DATASETS"),
    ("asmil.attention", "NORMALIZERS"),
    ("asmil.models", "MODELS"),
    ("asmil.evaluation", "METRICS"),
)
PACKAGES = sorted(f"asmil.{file.parent.name}" for file in Path(asmil.__file__).parent.glob("*/__init__.py"))


@pytest.mark.parametrize("name", sorted(getattr(asmil, "__all__", [])))
def test_a_public_name_resolves_and_has_a_docstring(name):
    value = getattr(asmil, name)
    if inspect.isclass(value) or inspect.isroutine(value):
        assert (inspect.getdoc(value) or "").strip()


@pytest.mark.parametrize("package", PACKAGES)
def test_every_name_a_room_offers_resolves(package):
    room = importlib.import_module(package)
    names = getattr(room, "__all__", [])
    assert len(set(names)) == len(names)
    missing = [name for name in names if not hasattr(room, name)]
    assert not missing


@pytest.mark.parametrize(("package", "attribute"), REGISTRIES, ids=[a for _, a in REGISTRIES])
def test_every_registered_part_says_what_it_is(package, attribute):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not built yet")
    registry = getattr(importlib.import_module(package), attribute)
    assert registry.names(), "an empty registry"
    for name in registry.names():
        assert registry.summary(name).strip(), f"{attribute}[{name!r}] does not say what it is"


@pytest.mark.parametrize(("package", "attribute"), REGISTRIES, ids=[a for _, a in REGISTRIES])
def test_every_part_of_a_folder_exposes_its_attribute(package, attribute):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not built yet")
    registry = getattr(importlib.import_module(package), attribute)
    if not isinstance(registry, FolderRegistry):
        pytest.skip("functions register themselves")
    for name in registry.names():
        assert registry[name] is not None
