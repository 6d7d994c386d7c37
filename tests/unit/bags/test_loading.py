"""Where a cohort's features live never changes what a training sees, and what does not fit stays in its files."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

from asmil.bags import Bag, BagBatch, StreamedBag, available_memory, load_bags, open_features, read_cohort
from asmil.bags.loading import memory_of_groups
from asmil.errors import FeatureError

DIM, TILES = 16, (40, 7, 23)


def write(folder: Path, *, layout: str = "ours", tiles=TILES, dim: int = DIM) -> Path:
    """Slides s0, s1, ... in one piece (ours), in chunks (CLAM), or as arrays (.npy); other values in each."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, count in enumerate(tiles):
        x = np.random.default_rng(index).standard_normal((count, dim)).astype(np.float32 if layout == "clam" else "f2")
        xy = np.arange(2 * count).reshape(count, 2) * 256
        if layout == "npy":
            np.save(folder / f"s{index}.npy", x)
            np.save(folder / f"s{index}_coords.npy", xy)
            continue
        with h5py.File(folder / f"s{index}.h5", "w") as file:
            file.create_dataset("features", data=x, chunks=(4, dim) if layout == "clam" else None)
            file["coords"] = xy
    return folder


def load(folder: Path, **options) -> list[Bag]:
    store = open_features(folder)
    slides = pd.DataFrame({"slide": store.slides, "case": store.slides, "label": ["n", "y", "n"][: len(store)]})
    return load_bags(store, read_cohort(slides, features=store), **options)


def same(one: Bag, other: Bag) -> bool:
    facts = [(bag.slide, bag.case, bag.label, bag.tile_level0_px, bag.mpp, len(bag)) for bag in (one, other)]
    values = torch.equal(one.features, other.features) and torch.equal(one.level0_xy, other.level0_xy)
    return facts[0] == facts[1] and values and one.features.dtype == other.features.dtype


@pytest.mark.parametrize("layout", ["ours", "clam", "npy"])
def test_a_bag_is_the_same_in_memory_in_its_file_and_in_a_copy(layout, tmp_path):
    folder = write(tmp_path / "features", layout=layout)
    copies = tmp_path / "copies"
    memory, files, copied = load(folder), load(folder, budget=0), load(folder, budget=0, copies=copies)
    assert {type(bag) for bag in memory} == {Bag}
    assert {type(bag) for bag in files + copied} == {StreamedBag}
    assert len(list(copies.glob("*"))) == (6 if layout == "clam" else 0)
    rows = torch.tensor([5, 0, 3])
    for one, *others in zip(memory, files, copied, strict=True):
        for other in others:
            assert same(one, other)
            assert same(one.rows(rows), other.rows(rows))
            assert same(one.rows(rows), one.rows(rows.to(torch.uint8))), "numbers, which torch takes for a mask"
            mask = torch.arange(len(one)) % 2 == 1
            assert same(one.rows(mask), other.rows(mask)), "a mask, which was taken for rows 0 and 1"
            assert same(one, other.loaded())
            assert type(other.rows(rows)) is type(other.opened()) is type(replace(other, label=1)) is Bag
    for one, other in zip(memory, copied, strict=True):
        assert torch.equal(one.moments, other.moments)


def test_features_are_in_memory_as_long_as_all_processes_fit_into_the_budget(tmp_path):
    folder, size = write(tmp_path), sum(TILES) * DIM * 2
    for budget, processes, kind in ((size, 1, Bag), (size - 1, 1, StreamedBag), (2 * size, 3, StreamedBag)):
        said: list[str] = []
        bags = load(folder, budget=budget, processes=processes, tell=said.append)
        assert {type(bag) for bag in bags} == {kind}
        assert ("in memory" in said[0]) == (kind is Bag)


def test_copies_are_made_once_and_never_stale(tmp_path):
    folder, copies = write(tmp_path / "f", layout="clam"), tmp_path / "copies"

    def made() -> dict[str, int]:
        load(folder, budget=0, copies=copies)
        return {path.name: path.stat().st_mtime_ns for path in copies.iterdir()}

    first = made()
    assert made() == first
    with h5py.File(folder / "s1.h5", "r+") as file:
        file["features"][:] = 7
    second = made()
    assert len(second) == len(first) == 6
    assert len(set(first) - set(second)) == 2
    assert (load(folder, budget=0, copies=copies)[1].features == 7).all()


def test_what_changes_under_a_training_or_is_not_finite_is_an_error_when_it_is_read(tmp_path):
    bags = load(write(tmp_path), budget=0)
    with h5py.File(tmp_path / "s0.h5", "r+") as file:
        file["features"][1, 1] = np.nan
    with pytest.raises(FeatureError, match=r"s0\.h5 was changed while it was in use"):
        bags[0].rows(torch.tensor([0]))
    again = load(tmp_path, budget=0)
    assert len(again[0].rows(torch.tensor([0]))) == 1
    with pytest.raises(FeatureError, match=r"s0\.h5 holds NaN.*row 1"):
        BagBatch.from_bags(again)


def test_no_room_for_copies_is_said(tmp_path, monkeypatch):
    said: list[str] = []
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 100})())
    bags = load(write(tmp_path / "f", layout="clam"), budget=0, copies=tmp_path / "c", tell=said.append)
    assert "decoded in every epoch" in said[-1]
    assert not list((tmp_path / "c").iterdir())
    assert len(BagBatch.from_bags(bags)) == 3


def test_a_control_group_with_less_memory_than_the_machine_decides(tmp_path):
    own = tmp_path / "cgroup"
    own.write_text("4:memory:/job/step\n0::/unified/job\n")
    for folder, limit, used, cached, names in (
        ("memory/job/step", "max", "1", "0", ("limit_in_bytes", "usage_in_bytes", "total_inactive_file")),
        ("memory/job", "1000", "700", "100", ("limit_in_bytes", "usage_in_bytes", "total_inactive_file")),
        ("unified/job", "900", "850", "25", ("max", "current", "inactive_file")),
    ):
        group = tmp_path / folder
        group.mkdir(parents=True, exist_ok=True)
        (group / f"memory.{names[0]}").write_text(limit)
        (group / f"memory.{names[1]}").write_text(used)
        (group / "memory.stat").write_text(f"other 5\n{names[2]} {cached}\n")
    assert sorted(memory_of_groups(own, tmp_path)) == [75, 400]
    assert list(memory_of_groups(tmp_path / "absent", tmp_path)) == []
    assert available_memory() > 0
