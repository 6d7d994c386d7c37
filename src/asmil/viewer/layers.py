"""Values per tile that can be laid over a slide: attention by fold, seed and epoch, and where seeds disagree.

A layer is named by one word: `mean`, `disagreement`, `cell-<fold>-<seed>`, `epoch-<fold>-<seed>-<epoch>`, and
`rows-<fold>-<seed>-<token>-<head>` with `all` for the mean over tokens or heads.
"""

from functools import cached_property
from typing import Any

import numpy as np

from asmil.attention import diagnostics
from asmil.errors import NotOfferedError
from asmil.figures import percentiles
from asmil.runs import Cell, Run
from asmil.viewer.heads import Heads


class Layers:
    """What there is of every slide of a run."""

    def __init__(self, run: Run, heads: Heads):
        self.run, self.heads = run, heads

    @cached_property
    def cells(self) -> dict[tuple[int, int], Cell]:
        """The trained models by fold and seed."""
        return {(cell.fold, cell.seed): cell for cell in self.run.cells()}

    @cached_property
    def _recorded(self) -> dict[str, dict[Cell, int]]:
        found: dict[str, dict[Cell, int]] = {}
        for cell in self.cells.values():
            for slide, epochs in cell.recorded().items():
                found.setdefault(slide, {})[cell] = epochs
        return found

    def recorded(self, slide: str) -> dict[Cell, int]:
        """The cells that kept the attention on a slide in every epoch, and how many epochs these are."""
        return self._recorded.get(slide, {})

    def offered(self, slide: str) -> list[dict[str, Any]]:
        """The layers of a slide for a menu: `id`, `group`, `label`; `fold`, `seed`, `epochs` where they have them."""
        tested = self.run.tested_on(slide)
        layers: list[dict[str, Any]] = []
        if tested:
            layers.append({"id": "mean", "group": "Held out", "label": _mean_label(len(tested))})
        if len(tested) > 1:
            layers.append({"id": "disagreement", "group": "Held out", "label": "disagreement between seeds"})
        layers += [_entry(cell, "cell", "held out") for cell in tested]
        layers += [_entry(cell, "rows", "by token and head") for cell in tested if self.heads.kept(cell)]
        layers += [_entry(cell, "cell", "as validation slide") for cell in self.run.tested_on(slide, part="val")]
        by_epoch = self.recorded(slide).items()
        return layers + [_entry(cell, "epoch", "by epoch") | {"epochs": epochs} for cell, epochs in by_epoch]

    def values(self, slide: str, layer: str) -> np.ndarray:
        """The layer as float64 (tiles,).

        Raises:
            NotOfferedError: the slide has no such layer.
        """
        kind, *place = layer.split("-")
        if kind in ("mean", "disagreement") and not place:
            maps = [self._attention(cell, slide) for cell in self.run.tested_on(slide)]
            if len(maps) > (kind == "disagreement"):
                ranks = [percentiles(m) for m in maps] if kind == "disagreement" else maps
                return np.std(ranks, axis=0) if kind == "disagreement" else np.mean(ranks, axis=0)
        elif kind == "cell" and len(place) == 2:
            return self._attention(self.cell(place), slide)
        elif kind == "epoch" and len(place) == 3:
            return self._epoch(self.cell(place[:2]), slide, place[2])
        elif kind == "rows" and len(place) == 4:
            return self.heads.mean_of(self.cell(place[:2]), slide, token=place[2], head=place[3])
        raise NotOfferedError(f"slide {slide} has no such layer", found=layer)

    def cell(self, place: list[str]) -> Cell:
        """The cell of a fold and a seed, as they stand in a layer's name.

        Raises:
            NotOfferedError: the run has no such cell.
        """
        fold, seed = (int(text) if text.isdecimal() and len(text) < 10 else -1 for text in place)
        if (fold, seed) not in self.cells:
            raise NotOfferedError("the run has no such fold and seed", found="-".join(place))
        return self.cells[fold, seed]

    def _attention(self, cell: Cell, slide: str) -> np.ndarray:
        attention = cell.attention(slide)
        if attention is None:
            raise NotOfferedError(f"{cell.name} kept no attention of {slide}")
        return attention.astype(np.float64)

    def _epoch(self, cell: Cell, slide: str, epoch: str) -> np.ndarray:
        if cell not in self.recorded(slide):
            raise NotOfferedError(f"the epochs of slide {slide} were not recorded")
        kept = cell.epochs(slide)
        if not epoch.isdecimal() or len(epoch) > 9 or int(epoch) >= len(kept):
            raise NotOfferedError("there is no such epoch", found=f"{epoch[:20]}, of {len(kept)}")
        return kept[int(epoch)].astype(np.float64)

    def epoch_jsd(self, cell: Cell, slide: str) -> np.ndarray | None:
        """Jensen-Shannon divergence (epochs - 1,) in nats of each epoch from the one before; None if not recorded."""
        return diagnostics.jsd_between_epochs(cell.epochs(slide)) if cell in self.recorded(slide) else None

    def unrest(self, slide: str) -> dict[str, float | None]:
        """How little the attention of a slide is settled, in nats.

        `seeds`: the Jensen-Shannon divergence of all seeds' maps together, the entropy of their mean less their mean
        entropy (for two maps the usual divergence). `epochs`: mean divergence of successive epochs over the last 10.
        """
        maps = [self._attention(cell, slide) for cell in self.run.tested_on(slide)]
        moves = [self.epoch_jsd(cell, slide) for cell in self.recorded(slide)]
        late = [jsd[-10:].mean() for jsd in moves if jsd is not None and len(jsd)]
        seeds = None
        if len(maps) > 1:
            middle = np.mean(maps, axis=0)
            # summed tile by tile, where no term cancels: near-uniform maps differ by 1e-12
            with np.errstate(divide="ignore", invalid="ignore"):
                terms = np.where(np.array(maps) > 0, maps * np.log(maps / middle), 0.0)
            seeds = max(float(terms.sum(axis=1).mean()), 0.0)
        return {"seeds": seeds, "epochs": float(np.mean(late)) if late else None}


def _mean_label(seeds: int) -> str:
    return "attention" if seeds == 1 else f"attention, mean of {seeds} seeds"


def _entry(cell: Cell, kind: str, group: str) -> dict[str, Any]:
    label = f"{group} · fold {cell.fold}, seed {cell.seed}"
    place = {"fold": cell.fold, "seed": cell.seed}
    return {"id": f"{kind}-{cell.fold}-{cell.seed}", "group": group.capitalize(), "label": label} | place
