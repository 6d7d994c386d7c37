"""What a bag was, cheaply: what the digest sees, and how little is read for it."""

from hashlib import blake2b

import h5py
import numpy as np
import pytest
import torch

from asmil.bags import open_features
from asmil.bags.store import MOST_BYTES

TILES, WIDTH = 3000, 96


@pytest.fixture
def values():
    return np.random.default_rng(0).normal(size=(TILES, WIDTH)).astype(np.float32)


def _write(folder, name, values, **storage):
    path = folder / name
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".pt":
        torch.save(torch.from_numpy(values), path)
    else:
        with h5py.File(path, "w") as file:
            file.create_dataset("features", data=values, **storage)
            file["coords"] = np.zeros((len(values), 2), int)


def _digests(folder) -> dict[str, str]:
    store = open_features(folder)
    return {slide: store.content(slide).digest for slide in store.slides}


def test_it_is_of_the_values_and_not_of_the_file(tmp_path, values):
    _write(tmp_path, "a.h5", values)
    _write(tmp_path, "b.h5", values, chunks=(1, WIDTH))
    _write(tmp_path, "c.h5", values, chunks=(50, WIDTH), compression="gzip")
    _write(tmp_path, "d.npy", values)
    _write(tmp_path, "e.pt", values)
    content = open_features(tmp_path).content("c")
    assert (content.file, content.tiles, content.width) == ("c.h5", TILES, WIDTH)
    digests = _digests(tmp_path)
    # of larger chunks fewer rows are looked at, so that files of one layout are compared
    assert digests["a"] == digests["b"] == digests["d"] == digests["e"]
    _write(tmp_path, "c2.h5", values, chunks=(50, WIDTH), compression="gzip", compression_opts=9)
    assert _digests(tmp_path)["c2"] == digests["c"]


@pytest.mark.parametrize("storage", [{}, {"chunks": (1, WIDTH)}, {"chunks": (TILES, WIDTH), "compression": "gzip"}])
def test_it_sees_other_features(tmp_path, values, storage):
    changed = {
        "shifted": values + 1e-3,
        "other_order": values[::-1],
        "fewer": values[:-1],
        "narrower": values[:, :-1],
        "last_row": np.concatenate([values[:-1], values[:1]]),
        "doubles": values.astype(np.float64),
    }
    digests = set()
    for name, one in {"as_they_were": values, **changed}.items():
        folder = tmp_path / name
        folder.mkdir()
        own = dict(storage)
        if "chunks" in own:
            own["chunks"] = tuple(map(min, own["chunks"], one.shape))
        _write(folder, "a.h5", one, **own)
        digests.add(_digests(folder)["a"])
    assert len(digests) == 1 + len(changed)


@pytest.mark.parametrize("storage", [{}, {"chunks": (1, 4096)}, {"chunks": (2000, 4096), "compression": "gzip"}])
def test_a_megabyte_is_read_at_most(tmp_path, storage, monkeypatch):
    rng = np.random.default_rng(1)
    _write(tmp_path, "large.h5", rng.normal(size=(2000, 4096)).astype(np.float32), **storage)
    store, read = open_features(tmp_path), []
    import asmil.bags.store as module

    update = module.blake2b

    class Counted:
        def __init__(self, *args, **kwargs):
            self._inner = update(*args, **kwargs)

        def update(self, data):
            read.append(len(data))
            self._inner.update(data)

        def hexdigest(self):
            return self._inner.hexdigest()

    monkeypatch.setattr(module, "blake2b", Counted)
    store.content("large")
    assert 2 * 4096 * 4 <= sum(read) <= MOST_BYTES


def test_a_list_of_tiles_and_half_floats_of_torch(tmp_path, values):
    torch.save(list(torch.from_numpy(values[:5])), tmp_path / "list.pt")
    torch.save(torch.from_numpy(values).bfloat16(), tmp_path / "half.pt")
    store = open_features(tmp_path)
    assert store.content("list").tiles == 5
    assert store.content("half").tiles == TILES


@pytest.mark.parametrize("suffix", ["h5", "gz.h5", "npy", "pt"])
def test_every_row_of_a_bag_that_fits_the_megabyte_is_seen(tmp_path, values, suffix):
    small, name = values[:60, :16].astype(np.float16), f"a.{suffix}"
    storage = {"chunks": (16, 16), "compression": "gzip"} if suffix == "gz.h5" else {}
    seen = set()
    for row in (None, *range(60)):
        changed = small.copy()
        if row is not None:
            changed[row] += 1
        _write(tmp_path, name, changed, **storage)
        seen |= set(_digests(tmp_path).values())
    assert len(seen) == 61


def test_a_digest_of_before_is_compared_by_its_own_rule(tmp_path, values):
    small = values[:60, :16]
    _write(tmp_path, "a.npy", small)
    rows = np.unique(np.linspace(0, 59, 32).round().astype(np.int64))
    before = blake2b(b"60 16 float32", digest_size=16)  # as it was taken until all rows were read
    before.update(small[rows].tobytes())
    store = open_features(tmp_path)
    assert store.content("a", like=before.hexdigest()).digest == before.hexdigest()
    assert store.content("a", like=store.content("a").digest) == store.content("a")
    assert store.content("a").digest != before.hexdigest()
