"""Fixtures that every room's tests share."""

import importlib.util
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]

# In CI the same examples every time, so that a change is judged by itself; elsewhere new ones, which find new faults.
settings.register_profile("asmil", derandomize=bool(os.environ.get("CI")), deadline=None)
settings.load_profile("asmil")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data (`ASMIL_DATA`, or `../shared/data` beside the repository)."""
    folder = Path(os.environ.get("ASMIL_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"real data not found at {folder}; set ASMIL_DATA")
    return folder


@pytest.fixture(scope="session")
def cmu_slide() -> Path:
    """A real Aperio slide that ships with the tests (CMU-1-Small-Region, CC0)."""
    return ROOT / "tests" / "data" / "CMU-1-Small-Region.svs"


@pytest.fixture(scope="session")
def browser():
    """The machine's own Chromium; none is ever downloaded."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("there is no chromium on this machine")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def make_run():
    """The function that writes a small run, random but structured like a real one: see `fake_run.py`."""
    spec = importlib.util.spec_from_file_location("fake_run", Path(__file__).with_name("fake_run.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.write_fake_run


@pytest.fixture(scope="session")
def begin_run():
    """A function that begins a run of a cohort and its splits, with settings by name, or goes on with it."""
    from asmil.runs import Run
    from asmil.settings import Settings

    def begin(folder, cohort, splits, **settings):
        run = Run.create(folder)
        run.write_identity({"model": settings.get("model", "asmil")})
        run.write_settings(Settings(**settings))
        run.set_data(cohort, splits)
        return run

    return begin


@pytest.fixture(scope="session")
def write_feature_files():
    """A function that writes synthetic bags as feature files of ours and returns the slide names."""
    import h5py
    import numpy as np

    def write(folder: Path, *, n_slides: int, dim: int, seed: int = 0) -> list[str]:
        from asmil.bags import make_bags

        folder.mkdir(parents=True, exist_ok=True)
        bags, _ = make_bags(n_slides, tiles=(5, 30), dim=dim, shift=4.0, seed=seed)
        for bag in bags:
            with h5py.File(folder / f"{bag.slide}.h5", "w") as file:
                file["features"] = bag.features.numpy().astype(np.float16)
                file["coords"] = bag.level0_xy.numpy()
                for part in (file, file["features"], file["coords"]):
                    part.attrs.update(patch_size=256, patch_size_level0=256, mpp=0.5, slide_mpp=0.5)
                file.attrs.update(format="asmil", encoder="synthetic")
        return [bag.slide for bag in bags]

    return write


@pytest.fixture(scope="session")
def write_published():
    """A function that writes a random model of 2 classes, named and saved as the authors' script does."""
    import torch

    def write(path: Path, *, in_dim: int) -> Path:
        torch.manual_seed(3)
        shapes = {"dimreduction.fc1.weight": (8, in_dim), "q": (1, 2, 8), "cls": (1, 1, 8)}
        shapes |= {"Slide_classifier.fc.weight": (2, 8), "Slide_classifier.fc.bias": (2,)}
        shapes |= {"dimreduction.bn.weight": (8,), "classifier.0.fc.weight": (2, 8)}
        for block in ("sub_attention.0", "sub_attention.1", "bag_attention"):
            for layer in ("q_proj", "k_proj", "v_proj", "out_proj", "layer_norm"):
                shapes[f"{block}.{layer}.weight"] = (8,) if layer == "layer_norm" else (8, 8)
                shapes[f"{block}.{layer}.bias"] = (8,)
        torch.save({"model": {name: torch.randn(shape) for name, shape in shapes.items()}, "epoch": 3}, path)
        return path

    return write
