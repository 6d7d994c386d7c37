"""What this machine has: versions, device, memory, slide formats, encoders, disk."""

import importlib.metadata
import importlib.util
import os
import platform
import runpy
import shutil
import sys
import tempfile
from pathlib import Path

import typer

from asmil.errors import PartError
from asmil.machine import cores

PACKAGES = (
    "numpy",
    "scipy",
    "scikit-learn",
    "pandas",
    "h5py",
    "pillow",
    "tifffile",
    "imagecodecs",
    "numba",
    "timm",
    "torchvision",
    "transformers",
    "huggingface_hub",
)
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "HF_HUB_OFFLINE")
GIB = 1024**3


def doctor(
    out: Path = typer.Option(Path(), help="The folder runs will be written to: its free space is shown."),
    weights: Path | None = typer.Option(None, help="Where weights of encoders lie: a folder, or a json map of names."),
) -> None:
    """Print what matters when something does not work; paste it into a bug report."""
    sections = (
        ("asmil", _versions()),
        ("device", _device()),
        ("slides", _slides()),
        ("encoders", _encoders(weights)),
        ("parts of other packages", _packaged()),
        ("disk", _disk(out)),
    )
    for title, rows in sections:
        typer.secho(title, bold=True)
        for name, value in rows:
            typer.echo(f"  {name:<22}{value}")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _versions() -> list[tuple[str, str]]:
    rows = [
        ("asmil", _version("asmil")),
        ("python", f"{platform.python_version()} ({sys.executable})"),
        ("platform", platform.platform()),
    ]
    return rows + [(name, _version(name)) for name in PACKAGES]


def built_for() -> str | None:
    """The accelerator that the installed torch is built for; read off its file, as importing torch takes seconds."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    facts = runpy.run_path(str(Path(spec.origin).with_name("version.py")))
    named = {"cuda": "CUDA", "hip": "ROCm", "xpu": "XPU"}
    found = next((f"{name} {facts[key]}" for key, name in named.items() if facts.get(key)), None)
    return found or ("Metal" if sys.platform == "darwin" else None)


def _device() -> list[tuple[str, str]]:
    built = built_for()
    rows = [("torch", f"{_version('torch')} (built for {built or 'CPU'})")]
    rows += _accelerators(built) if built else [("GPU", "none (this torch has no GPU support)")]
    rows.append(("CPU", f"{cores()} cores"))
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        rows.append(("memory", f"{memory / GIB:.1f} GiB"))
    return rows + [(name, os.environ[name]) for name in THREAD_VARIABLES if name in os.environ]


def _accelerators(built: str) -> list[tuple[str, str]]:
    import torch

    rows = []
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        name = torch.cuda.get_device_name(index)
        rows.append((f"cuda:{index}", f"{name}, {free / GIB:.1f} of {total / GIB:.1f} GiB free"))
    if torch.backends.mps.is_available():
        rows.append(("mps", "available"))
    return rows or [("GPU", f"none (torch is built for {built} but sees no GPU: check the driver)")]


def _slides() -> list[tuple[str, str]]:
    import openslide

    from asmil.slides import SLIDE_READERS

    return [
        ("openslide", f"{openslide.__library_version__} (python {openslide.__version__})"),
        ("readers", ", ".join(SLIDE_READERS.names())),
    ]


def _encoders(weights: Path | None) -> list[tuple[str, str]]:
    """A row per encoder: whether it can run here, the memory of its weights, and from where or what is missing."""
    from asmil.encoders import ENCODERS, card, readiness

    gpus, rows = list[int](), []
    if built_for():
        import torch

        gpus = [torch.cuda.get_device_properties(index).total_memory for index in range(torch.cuda.device_count())]
    for facts in map(card, sorted(ENCODERS.usable())):
        found = readiness(facts, weights=weights, gpu_bytes=max(gpus, default=None))
        rows.append((facts.name, f"{found.state:<11}{found.weights_gib:4.1f} GiB  {found.detail}"))
    return rows


def _packaged() -> list[tuple[str, str]]:
    """What installed packages offer by entry points: from whom, or why it is not used. It is imported."""
    from asmil.bags import FEATURE_FORMATS
    from asmil.encoders import ENCODERS
    from asmil.models import MODELS
    from asmil.slides import SLIDE_READERS

    rows: list[tuple[str, str]] = []
    for registry in (MODELS, ENCODERS, SLIDE_READERS, FEATURE_FORMATS):
        rows += list(registry.conflicts().items())
        for name in registry.packaged():
            try:
                registry[name]
                rows.append((name, f"{registry.kind}. {registry.summary(name)}"))
            except PartError as error:
                rows.append((name, str(error)))
    return rows or [("none", "")]


def _disk(out: Path) -> list[tuple[str, str]]:
    temporary = Path(tempfile.gettempdir())
    rows = []
    for name, folder in (("out", out), ("temporary", temporary)):
        existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
        usage = shutil.disk_usage(existing)
        writable = "" if os.access(existing, os.W_OK) else ", NOT WRITABLE"
        rows.append((name, f"{existing}: {usage.free / GIB:.1f} of {usage.total / GIB:.1f} GiB free{writable}"))
    return rows
