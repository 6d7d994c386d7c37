"""The classic bags of multiple-instance learning: the same bags, whichever of its files a set is read from."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from asmil.bags.bag import Bag
from asmil.bags.cohort import Cohort
from asmil.bags.datasets import Dataset, DatasetError
from asmil.bags.datasets._classic_files import Table, read_classic
from asmil.bags.datasets._files import data_folder, fetch, find

CLASSES = ("negative", "positive")
ANDREWS = "http://www.cs.columbia.edu/~andrews/mil/data/MIL-Data-2002-Musk-Corel-Trec9.tgz"
MCILBOOST = "https://raw.githubusercontent.com/junyanz/MCILBoost/3527c580f3aab87d8a79bdd8a52f087567efc2cc/data/"


@dataclass(frozen=True)
class ClassicSet:
    """One of the sets: called with a path, it is loaded.

    `files` are the names it is looked for under, `urls` its homes, tried in turn; `member` its file in Andrews's
    archive. `content` is the SHA-256 of what the files say (`content_sha256`), whatever their form.
    """

    name: str
    files: tuple[str, ...]
    urls: tuple[str, ...]
    content: str
    source: str
    licence: str
    member: str = ""

    def __call__(self, root: Path | None = None) -> Dataset:
        """Load from `root` (a file, or a folder to look in), else from `ASMIL_DATA`, else from its home.

        Raises:
            DatasetError: nothing found, not downloadable, or the content is not that of the set.
        """
        path = self._find(root)
        table = self._fetched() if path is None else self._checked(path)
        bags = [
            Bag(torch.from_numpy(rows).float(), None, f"{self.name}_{i:03d}", f"{self.name}_{i:03d}", label)
            for i, (rows, label) in enumerate(ordered(table))
        ]
        names = [bag.slide for bag in bags]
        labels = [CLASSES[bag.label or 0] for bag in bags]
        cohort = Cohort(pd.DataFrame({"slide": names, "case": names, "label": labels}), CLASSES)
        return Dataset(self.name, bags, cohort, source=self.source, licence=self.licence)

    def _find(self, root: Path | None) -> Path | None:
        folder = root or data_folder()
        if folder is None or (root is None and not folder.is_dir()):
            return None
        if folder.is_dir() and list(folder.glob("X*.mat")):
            return folder
        path = find(folder, self.files)
        if path is None and root is not None:
            fix = f"it is looked for as {', '.join(self.files)}; without root it is downloaded from {self.urls[0]}"
            raise DatasetError(f"{self.name} is not in this folder", found=root, fix=fix)
        return path

    def _checked(self, path: Path) -> Table:
        table = read_classic(path, member=self.member)
        if (found := content_sha256(table)) != self.content:
            shape = f"{len(table.label)} bags, {len(table.rows)} rows of {table.rows.shape[1]} values, SHA-256 {found}"
            fix = "take the original values, not scaled ones, complete and of this set"
            raise DatasetError(f"the content of {path} is not that of {self.name}", found=shape, fix=fix)
        return table

    def _fetched(self) -> Table:
        failures = []
        for url in self.urls:
            try:
                path = fetch(url)
            except DatasetError as error:
                failures.append(f"{url}: {error.found}")
                continue
            try:
                return self._checked(path)
            except DatasetError as error:
                path.unlink(missing_ok=True)  # so that the next call downloads it again
                failures.append(f"{url}: {error.what}, {error.found}")
        fix = "check the network, or download it by other means and give root=PATH of the file or its folder"
        raise DatasetError(f"{self.name} cannot be downloaded", found="; ".join(failures), fix=fix)


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
