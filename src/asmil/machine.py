"""What this machine offers a process: cores, a pool of threads as wide, torchvision, code that is trusted, versions."""

import importlib.util
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TypeVar

from asmil.errors import EncoderError
from asmil.files import Facts
from asmil.registry import offering_packages

_DECLARED: list[object] = []  # a torch Library undoes its declarations when it is collected


@cache
def prepare_torchvision() -> str:
    """Call before the first import of timm or torchvision; returns "native" or "declared".

    torchvision registers fake kernels of two operators without asking whether its library could be loaded. A
    build for CUDA beside a torch for the CPU then fails at import, though timm needs only its Python half:
    there the two operators are declared, and calling them fails as it should.

    Raises:
        EncoderError: torchvision is not installed.
    """
    import torch

    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        raise EncoderError(
            "this encoder needs timm and torchvision",
            fix="pip install 'asmil[encoders]', or use colour-texture",
        )
    library = Path(spec.origin).with_name("_C.so")
    if not library.exists():
        return "native"
    try:
        torch.ops.load_library(library)
    except OSError:
        declared = torch.library.Library("torchvision", "FRAGMENT")
        for operator in ("nms", "qnms"):
            declared.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _DECLARED.append(declared)
        return "declared"
    return "native"


TRUSTED = "ASMIL_TRUST"
"""The variable of the environment in which a person names code of elsewhere that may be run."""


def trusted() -> list[str]:
    """What a person named as code that may be run: files, folders, names of repositories."""
    return [name for name in os.environ.get(TRUSTED, "").split(os.pathsep) if name]


def cores() -> int:
    """Cores this process may use: what a scheduler allows, which on a shared machine is less than it has."""
    affinity = getattr(os, "sched_getaffinity", None)
    return max(1, len(affinity(0)) if affinity else os.cpu_count() or 1)


T = TypeVar("T")
CHUNK = 8
"""At most so many neighbours go to one thread at a time: fewer than a row of tiles, so that threads work side by
side in one row and seldom want the same tile."""


@cache
def pool() -> ThreadPoolExecutor:
    """The pool of this process, made at its first use."""
    return ThreadPoolExecutor(cores(), thread_name_prefix="asmil-pixels")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=pool.cache_clear)  # threads do not survive a fork


def each(function: Callable[[T], object], items: Sequence[T], *, chunk: int = CHUNK) -> None:
    """Call `function` on every item, on all cores; the error of the first item that has one is raised at the end.

    A core that is free takes the next `chunk` neighbours, fewer where there are few. A function that runs here
    must not call `each` itself: it would wait for threads that wait for it.
    """
    if len(items) < 2 or cores() == 1:
        for item in items:
            function(item)
        return
    step = max(1, min(chunk, len(items) // (4 * cores())))
    starts, errors = iter(range(0, len(items), step)), dict[int, Exception]()

    def run() -> None:
        for start in starts:  # of all threads: each start is taken once
            try:
                for item in items[start : start + step]:
                    function(item)
            except Exception as error:  # noqa: BLE001 - raised below
                errors[start] = error

    for worker in [pool().submit(run) for _ in range(cores())]:
        worker.result()
    if errors:
        raise errors[min(errors)]


PACKAGES = (
    "asmil",
    "torch",
    "numpy",
    "scipy",
    "scikit-learn",
    "h5py",
    "openslide-python",
    "openslide-bin",
    "timm",
)


def environment() -> Facts:
    """What another person needs to repeat a run; a package that is not installed is None."""
    import torch

    versions: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "packages": versions | offering_packages(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "cpus": os.cpu_count(),
        "commit": _commit(),
        "made_in": str(Path.cwd()),
    }


@cache
def _commit() -> str | None:
    """The commit asmil runs from, when it runs from a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
