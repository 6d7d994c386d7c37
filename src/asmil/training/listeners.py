"""Listeners of `fit`: whatever is not learning. A listener is called as listener(event, **values).

Events: "start" (model, settings), "epoch" (epoch, model, stabilizer, row, val: list of Prediction), "end" (model,
result).
What a listener returns for "epoch" (a dict or None) is added to the epoch's row of the log. A listener with
`state_dict` and `load_state_dict` is part of the checkpoint.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from asmil.attention import effective_tiles, jsd, normalized_entropy, top_mass
from asmil.bags import Bag, by_slide
from asmil.files import Facts, new_hdf5


class Listener(Protocol):
    """A function of (event, **values)."""

    def __call__(self, event: str, **values: Any) -> Facts | None: ...


EMBEDDINGS = ".embeddings"
"""Group of dynamics.h5 beside those of slides, whose names start with no dot."""

EMBEDDED_EVERY = 5
"""Epochs from one recording of the embeddings to the next."""


class AttentionRecorder:
    """Follows the attention on validation slides from epoch to epoch.

    Logs `jsd` (nats; mean over slides, against the epoch before), `entropy` (of 1), `effective_tiles` and `top1_mass`,
    over the first `measure` validation slides, and keeps the maps of the first `keep` of them. Of the first `embed`
    slides it keeps the embeddings, of every fifth epoch (`EMBEDDED_EVERY`).
    """

    def __init__(self, *, keep: int = 4, measure: int = 64, embed: int = 256):
        self.keep, self.measure, self.embed = keep, measure, embed
        self._embeddings: dict[int, np.ndarray] = {}
        self._embedded: list[str] = []
        self._last: dict[str, np.ndarray] = {}
        self._kept: dict[str, list[np.ndarray]] = {}

    def __call__(self, event: str, **values: Any) -> Facts | None:
        if event != "epoch":
            return None
        if values["epoch"] % EMBEDDED_EVERY == 0 and values["val"]:
            first = values["val"][: self.embed]
            self._embedded = [p.slide for p in first]
            self._embeddings[values["epoch"]] = np.stack([p.embedding for p in first])
        maps = {p.slide: p.attention for p in values["val"][: self.measure]}
        for slide in list(maps)[: self.keep]:
            self._kept.setdefault(slide, []).append(maps[slide])
        row: Facts = {}
        if maps:
            last = np.concatenate([self._last[slide] for slide in maps]) if self._last else None
            offsets = np.cumsum([0, *map(len, maps.values())])
            row = map_statistics(np.concatenate(list(maps.values())), last, offsets=offsets)
        self._last = maps
        return row

    def save(self, path: Path, *, bags: Sequence[Bag] = ()) -> None:
        """Write what was kept as HDF5: a group per slide with `attention` float32 (epochs, tiles).

        `bags` are those recorded, where they are of patients and so of several slides.

        Beside them the group `EMBEDDINGS` with `epoch` (recorded,), `slide` (slides,) and `embedding` float16
        (recorded, slides, dim), where anything was recorded.
        """
        with new_hdf5(path) as file:
            bag_of = {bag.slide: bag for bag in bags if bag.tiles_of}
            for name, recorded in self._kept.items():
                maps = np.stack(recorded).astype(np.float32)
                for slide, own in by_slide(bag_of[name], maps) if name in bag_of else [(name, maps)]:
                    file.create_group(slide)["attention"] = own
            if self._embeddings:
                group = file.create_group(EMBEDDINGS)
                group["epoch"], group["slide"] = list(self._embeddings), self._embedded
                largest = np.finfo(np.float16).max
                values = np.stack(list(self._embeddings.values())).clip(-largest, largest)
                group.create_dataset("embedding", data=values.astype(np.float16), compression="gzip")

    def state_dict(self) -> Facts:
        """Everything recorded so far, as tensors."""
        kept = {slide: torch.from_numpy(np.stack(maps)) for slide, maps in self._kept.items()}
        return {
            "last": {s: torch.from_numpy(p.copy()) for s, p in self._last.items()},
            "kept": kept,
            "embeddings": {epoch: torch.from_numpy(values) for epoch, values in self._embeddings.items()},
            "embedded": self._embedded,
        }

    def load_state_dict(self, state: Facts) -> None:
        """Continue a recording."""
        self._last = {s: p.numpy() for s, p in state["last"].items()}
        self._kept = {s: list(p.numpy()) for s, p in state["kept"].items()}
        self._embeddings = {epoch: values.numpy() for epoch, values in state.get("embeddings", {}).items()}
        self._embedded = state.get("embedded", [])


def map_statistics(maps: np.ndarray, last: np.ndarray | None, *, offsets: np.ndarray) -> dict[str, float]:
    """Means over slides whose maps lie end to end, and of their divergence from the `last`; in one pass, as cells that
    are trained together have many of them."""
    of_slides = {
        "entropy": normalized_entropy(maps, offsets=offsets),
        "effective_tiles": effective_tiles(maps, offsets=offsets),
        "top1_mass": top_mass(maps, share=0.01, offsets=offsets),
    }
    if last is not None:
        of_slides["jsd"] = jsd(maps, last, offsets=offsets)
    return {name: float(np.mean(values)) for name, values in of_slides.items()}
