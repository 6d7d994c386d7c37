"""The files the five classic datasets circulate in, read to rows, bag of each row, and label of each bag."""

import tarfile
from collections.abc import Iterable
from io import TextIOWrapper
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import pandas as pd

from asmil.bags.datasets import DatasetError

_NO_FEATURES = ("molecule_name", "conformation_name", "class")


class Table(NamedTuple):
    """Rows float64 (rows, dim), the index of each row's bag int64 (rows,), the label of each bag 0 or 1 (bags,)."""

    rows: np.ndarray
    bag: np.ndarray
    label: np.ndarray


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
        if path.suffix == ".npz":
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
