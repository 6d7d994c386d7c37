"""Where the files of a dataset are: under the given path, else under ASMIL_DATA, else downloaded once and kept."""

import http.client
import os
import shutil
import urllib.request
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from asmil.bags.datasets import DatasetError
from asmil.files import written_beside

_DEPTHS = ("", "*/", "*/*/")


def data_folder() -> Path | None:
    """The folder that the environment variable `ASMIL_DATA` names, or None."""
    folder = os.environ.get("ASMIL_DATA")
    return Path(folder).expanduser() if folder else None


def cache_folder() -> Path:
    """Where downloads are kept: `ASMIL_CACHE`, else `asmil` in the user's cache folder."""
    if own := os.environ.get("ASMIL_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "asmil"


def find(root: Path, names: Sequence[str]) -> Path | None:
    """The first file or folder of one of these names in a folder or at most two folders below; `root` if a file.

    Names are tried in the given order, near places before far ones.

    Raises:
        DatasetError: `root` does not exist.
    """
    if root.is_file():
        return root
    if not root.is_dir():
        raise DatasetError("there is no data at this path", found=root, fix="give root=PATH of the file or folder")
    for name in names:
        for depth in _DEPTHS:
            if found := sorted(root.glob(depth + name)):
                return found[0]
    return None


def fetch(url: str, *, timeout: float = 60.0) -> Path:
    """Download a file once into the cache folder; later calls return the kept file. `timeout` in seconds.

    A download that breaks off leaves nothing behind.

    Raises:
        DatasetError: no network, an answer other than the file, or fewer bytes than announced.
    """
    name = f"{sha256(url.encode()).hexdigest()[:8]}-{url.rsplit('/', 1)[1]}"
    place = cache_folder() / "datasets" / name
    if place.is_file():
        return place
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer, written_beside(place) as partial:
            with partial.open("wb") as file:
                shutil.copyfileobj(answer, file)
            size, announced = partial.stat().st_size, answer.headers.get("Content-Length")
            if announced is not None and size != int(announced):
                raise OSError(f"{size} of {announced} bytes arrived")
    except (OSError, http.client.HTTPException) as error:
        fix = "check the network, or download it by other means and give root=PATH of the file"
        raise DatasetError(f"{url} cannot be downloaded", found=error, fix=fix) from error
    return place
