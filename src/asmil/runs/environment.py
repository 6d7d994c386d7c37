"""Where a run was made: versions, device, processors and the commit of the code."""

import os
import platform
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

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


def environment() -> dict[str, Any]:
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
        "packages": versions,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "cpus": os.cpu_count(),
        "commit": _commit(),
    }


@cache
def _commit() -> str | None:
    """The commit asmil runs from, when it runs from a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
