"""Files of data sets: found or downloaded, and those that the classic sets circulate in read to bags."""

import http.client
import os
import shutil
import tarfile
import urllib.request
from collections.abc import Iterable, Sequence
from hashlib import sha256
from io import TextIOWrapper
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import pandas as pd
import torch

from asmil.bags.bag import Bag
from asmil.bags.cohort import Cohort
from asmil.bags.dataset_rows import ClassicSet
from asmil.bags.datasets import Dataset, DatasetError
from asmil.files import suffix_of, written_beside

CLASSES = ("negative", "positive")
_NO_FEATURES = ("molecule_name", "conformation_name", "class")


class Table(NamedTuple):
    """Rows float64 (rows, dim), the index of each row's bag int64 (rows,), the label of each bag 0 or 1 (bags,)."""

    rows: np.ndarray
    bag: np.ndarray
    label: np.ndarray


def load_classic(classic: ClassicSet, root: Path | None) -> Dataset:
    """The set from `root`, else from `ASMIL_DATA`, else from its home; see `ClassicSet`."""
    path = _find_classic(classic, root)
    table = _fetched(classic) if path is None else _checked(classic, path)
    bags = [
        Bag(torch.from_numpy(rows).float(), None, f"{classic.name}_{i:03d}", f"{classic.name}_{i:03d}", label)
        for i, (rows, label) in enumerate(ordered(table))
    ]
    names = [bag.slide for bag in bags]
    labels = [CLASSES[bag.label or 0] for bag in bags]
    cohort = Cohort(pd.DataFrame({"slide": names, "case": names, "label": labels}), CLASSES)
    return Dataset(classic.name, bags, cohort, source=classic.source, licence=classic.licence)


def _find_classic(classic: ClassicSet, root: Path | None) -> Path | None:
    folder = root or data_folder()
    if folder is None or (root is None and not folder.is_dir()):
        return None
    if folder.is_dir() and list(folder.glob("X*.mat")):
        return folder
    path = find(folder, classic.files)
    if path is None and root is not None:
        fix = f"it is looked for as {', '.join(classic.files)}; without root it is downloaded from {classic.urls[0]}"
        raise DatasetError(f"{classic.name} is not in this folder", found=root, fix=fix)
    return path


def _checked(classic: ClassicSet, path: Path) -> Table:
    table = read_classic(path, member=classic.member)
    if (found := content_sha256(table)) != classic.content:
        shape = f"{len(table.label)} bags, {len(table.rows)} rows of {table.rows.shape[1]} values, SHA-256 {found}"
        fix = "take the original values, not scaled ones, complete and of this set"
        raise DatasetError(f"the content of {path} is not that of {classic.name}", found=shape, fix=fix)
    return table


def _fetched(classic: ClassicSet) -> Table:
    failures = []
    for url in classic.urls:
        try:
            path = fetch(url)
        except DatasetError as error:
            failures.append(f"{url}: {error.found}")
            continue
        try:
            return _checked(classic, path)
        except DatasetError as error:
            path.unlink(missing_ok=True)  # so that the next call downloads it again
            failures.append(f"{url}: {error.what}, {error.found}")
    fix = "check the network, or download it by other means and give root=PATH of the file or its folder"
    raise DatasetError(f"{classic.name} cannot be downloaded", found="; ".join(failures), fix=fix)


def read_classic(path: Path, *, member: str) -> Table:
    """Read any known form, told by its content.

    A folder of MATLAB files as MILpy keeps them (`X*.mat`, `Bag2*.mat`, `BagI*.mat`); an `.npz` with `X`, `bag` and
    `bag_label`; the comma-separated file of the UCI repository, with or without a header; sparse text
    (`[row:]bag:label index:value ...`, from MCILBoost or Andrews); or Andrews's archive, of which only the file
    `member` is read, without unpacking anything.

    Raises:
        DatasetError: another form, or damaged.
    """
    try:
        if path.is_dir():
            return _matlab(path)
        if suffix_of(path) == ".npz":
            with np.load(path, allow_pickle=False) as file:
                return _table(file["X"], file["bag"], file["bag_label"])
        if tarfile.is_tarfile(path):
            with tarfile.open(path) as archive, _text(archive, member) as lines:
                return _sparse(lines)
        with path.open(encoding="utf-8") as lines:
            comma = "," in lines.readline()
            lines.seek(0)
            return (_uci if comma else _sparse)(lines)
    except (OSError, KeyError, ValueError, IndexError, EOFError, tarfile.TarError) as error:
        fix = "give root=PATH of an .npz, UCI .data or .csv, sparse text or archive of them, or a MILpy folder"
        raise DatasetError(f"{path} is not readable as a classic dataset", found=repr(error), fix=fix) from error


def _table(rows: np.ndarray, bag: Iterable, label: np.ndarray) -> Table:
    """Bags numbered from 0 in the order of their names; labels above zero are positive."""
    _, number = np.unique(np.asarray(bag), return_inverse=True)
    rows, label = np.asarray(rows, dtype=np.float64), (np.asarray(label).ravel() > 0).astype(np.int64)
    if rows.ndim != 2 or len(rows) != len(number) or len(label) != number.max() + 1 or not np.isfinite(rows).all():
        raise ValueError(f"rows {rows.shape}, {len(number)} bag numbers, {len(label)} labels")
    return Table(rows, number.ravel().astype(np.int64), label)


def _by_rows(rows: np.ndarray, bag: np.ndarray, label: np.ndarray) -> Table:
    """From labels per row: a bag is positive when any of its rows is."""
    _, number = np.unique(bag, return_inverse=True)
    of_bag = np.zeros(number.max() + 1)
    np.maximum.at(of_bag, number, label)
    return _table(rows, bag, of_bag)


def _matlab(folder: Path) -> Table:
    from scipy.io import loadmat  # slow to import, and for this form only

    def only(prefix: str) -> np.ndarray:
        files = [file for file in folder.glob("*.mat") if file.name.lower().startswith(prefix)]
        content = loadmat(files[0])  # an IndexError where there is none
        return next(value for key, value in content.items() if not key.startswith("__"))

    return _table(only("x"), only("bag2").ravel(), only("bagi"))


def _uci(lines: IO[str]) -> Table:
    """Molecule, conformation, features, class; the header, where there is one, names them."""
    table = pd.read_csv(lines, header=None, dtype=str, keep_default_na=False)
    names = table.iloc[0].tolist()
    if "molecule_name" in names:
        table = table[1:].set_axis(names, axis=1)
    else:
        features = [f"f{i}" for i in range(1, table.shape[1] - 2)]
        table = table.set_axis([*_NO_FEATURES[:2], *features, "class"], axis=1)
    rows = table.drop(columns=[*_NO_FEATURES]).to_numpy().astype(np.float64)
    return _by_rows(rows, table["molecule_name"].to_numpy(str), table["class"].to_numpy().astype(np.float64))


def _sparse(lines: Iterable[str]) -> Table:
    """Features that a line does not name are 0; lines without a colon are headers."""
    bags, labels, entries = [], [], []
    for line in lines:
        head, *values = line.split() or [""]
        if ":" not in head or head.startswith("#"):
            continue
        *_, bag, label = head.split(":")
        bags.append(int(bag))
        labels.append(float(label))
        entries.append([(int(index) - 1, float(value)) for index, value in (cell.split(":") for cell in values)])
    rows = np.zeros((len(entries), 1 + max(index for row in entries for index, _ in row)))
    for row, cells in zip(rows, entries, strict=True):
        index, value = zip(*cells, strict=True)
        row[list(index)] = value
    return _by_rows(rows, np.array(bags), np.array(labels))


def _text(archive: tarfile.TarFile, member: str) -> TextIOWrapper:
    file = archive.extractfile(member)  # a KeyError where there is none, None where it is no plain file
    if file is None:
        raise ValueError(f"{member} is no file")
    return TextIOWrapper(file, encoding="utf-8")


def ordered(table: Table) -> list[tuple[np.ndarray, int]]:
    """Rows float64 (rows, dim) and label of each bag, in an order that depends on the values only."""
    bags = []
    for number, label in enumerate(table.label.tolist()):
        rows = table.rows[table.bag == number] + 0.0  # -0.0 is 0.0
        rows = np.ascontiguousarray(rows[np.lexsort(rows.T[::-1])])
        bags.append((sha256(b"%d" % label + rows.astype("<f8").tobytes()).digest(), rows, label))
    return [(rows, label) for _, rows, label in sorted(bags, key=lambda bag: bag[0])]


def content_sha256(table: Table) -> str:
    """SHA-256 over the label and values of every bag; the order and names of bags and rows play no part."""
    digest = sha256()
    for rows, label in ordered(table):
        digest.update(b"%d %d %d " % (label, *rows.shape) + rows.astype("<f8").tobytes())
    return digest.hexdigest()


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
