"""Values per tile that can be laid over a slide: attention by fold, seed and epoch, and where seeds disagree.

A layer is named by one word: `mean`, `disagreement`, `cell-<fold>-<seed>`, `epoch-<fold>-<seed>-<epoch>`, and
`rows-<fold>-<seed>-<token>-<head>` with `all` for the mean over tokens or heads, `evidence-<class>` by its number.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from asmil.attention import jsd_between_epochs
from asmil.errors import NotOfferedError, RunError
from asmil.figures import percentiles
from asmil.files import Facts
from asmil.runs import Cell, PredictedFolder, Run

if TYPE_CHECKING:
    from asmil.bags import Bag  # with torch, which no page needs before a model is asked

# Attention of every token and head of a trained model, computed again from the features of a slide.

KEPT_BYTES = 256 * 2**20
"""Memory for computed maps: a slide of 50 000 tiles under 64 rows takes 13 MB."""

KEPT_SLIDES = 16
"""Slides whose evidence is kept: a column of 50 000 tiles takes .4 MB."""


class Heads:
    """The maps of single rows (token x head, class ...) of the run's models; `load` gives the bag of a slide."""

    def __init__(self, run: Run, *, load: "Callable[[str], Bag]"):
        self._run, self._load = run, load
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[int, int, str], np.ndarray] = OrderedDict()

    def kept(self, cell: Cell) -> bool:
        """Whether the model of a cell takes slides one by one."""
        return self._run.unit == "slide"

    def shape(self, cell: Cell, slide: str) -> Facts:
        """What the rows are: `tokens` and `heads` by name; a list is empty where there is one or none."""
        rows = self.weights(cell, slide).shape[1]
        tokens, heads = self._grid(rows)
        classes = self._run.classes
        named = classes if tokens == rows == len(classes) else [str(i + 1) for i in range(tokens)]
        return {"tokens": named if tokens > 1 else [], "heads": [str(i + 1) for i in range(heads)] if heads > 1 else []}

    def mean_of(self, cell: Cell, slide: str, *, token: str, head: str) -> np.ndarray:
        """Attention (tiles,) of one token and head; the mean over those that are `all`.

        Raises:
            NotOfferedError: the model has no such token or head.
            RunError: the model has no scores, or does not fit the features.
        """
        weights = self.weights(cell, slide)
        tokens, heads = self._grid(weights.shape[1])
        chosen = weights.reshape(len(weights), tokens, heads)
        for axis, (index, count) in enumerate(((token, tokens), (head, heads)), start=1):
            if index == "all":
                continue
            if not index.isdecimal() or len(index) > 9 or int(index) >= count:
                raise NotOfferedError("the model has no such token or head", found=f"{index[:20]}, of {count}")
            chosen = chosen.take([int(index)], axis=axis)
        return chosen.mean(axis=(1, 2))

    def weights(self, cell: Cell, slide: str) -> np.ndarray:
        """Attention (tiles, rows): each column sums to 1."""
        key = cell.fold, cell.seed, slide
        with self._lock:  # one at a time: each may take much memory
            if key not in self._kept:
                self._kept[key] = _row_weights(self._run, cell, self._load(slide))
                while len(self._kept) > 1 and sum(w.nbytes for w in self._kept.values()) > KEPT_BYTES:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]

    def _grid(self, rows: int) -> tuple[int, int]:
        """Tokens and heads of the model, if they make up its rows; else every row counts as a token."""
        from asmil.models import model_options

        settings = self._run.settings
        options = model_options(settings.model) | settings.model_options
        tokens, heads = (options.get(name) for name in ("tokens", "heads"))
        if isinstance(tokens, int) and isinstance(heads, int) and tokens * heads == rows:
            return tokens, heads
        return (1, rows) if heads == rows else (rows, 1)


def _row_weights(run: Run, cell: Cell, bag: "Bag") -> np.ndarray:
    import torch

    from asmil.attention import softmax
    from asmil.bags import BagBatch

    model, _ = cell.model(run.settings, len(run.classes), in_dim=bag.features.shape[1])
    normalizer = getattr(getattr(model, "model", model), "normalizer", softmax)
    with torch.inference_mode():
        batch = BagBatch.from_bags(bag)
        output = model(batch)
        if output.scores is None:
            raise RunError(f"{run.settings.model} has no attention by token or head")
        order, layout = output.segments(batch.layout)
        weights = torch.empty_like(output.scores, dtype=torch.float32)
        weights[order] = normalizer(output.scores[order].float(), layout) / len(layout)
    return weights.numpy()


class Layers:
    """What there is of every slide of a run."""

    def __init__(self, run: Run, heads: Heads):
        self.run, self.heads = run, heads
        self._lock, self._kept = threading.Lock(), dict[str, np.ndarray]()

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

    def offered(self, slide: str) -> list[Facts]:
        """The layers of a slide for a menu: `id`, `group`, `label`; `fold`, `seed`, `epochs` where they have them."""
        tested = self.run.tested_on(slide)
        layers: list[Facts] = []
        if tested:
            label = "attention" if len(tested) == 1 else f"attention, mean of {len(tested)} seeds"
            layers.append({"id": "mean", "group": "Held out", "label": label})
        if len(tested) > 1:
            layers.append({"id": "disagreement", "group": "Held out", "label": "disagreement between seeds"})
        layers += self._evidence_offered(slide)
        layers += [_entry(cell, "cell", "held out") for cell in tested]
        layers += [_entry(cell, "rows", "by token and head") for cell in tested if self.heads.kept(cell)]
        layers += [_entry(cell, "cell", "as validation slide") for cell in self.run.tested_on(slide, part="val")]
        by_epoch = self.recorded(slide).items()
        return layers + [_entry(cell, "epoch", "by epoch") | {"epochs": epochs} for cell, epochs in by_epoch]

    def _evidence_offered(self, slide: str) -> list[Facts]:
        run = self.run
        there = run.classifies_slides and run.store is not None and run.tested_on(slide)
        return _evidence_entries(run.classes, "Held out") if there else []

    def evidence(self, slide: str) -> np.ndarray:
        """Evidence (tiles, classes), of a few slides kept."""
        with self._lock:  # one at a time: each may take much memory
            if slide not in self._kept:
                self._kept[slide] = self.run.slide(slide).evidence
                while len(self._kept) > KEPT_SLIDES:
                    self._kept.pop(next(iter(self._kept)))
            return self._kept[slide]

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
        elif kind == "evidence" and layer in (entry["id"] for entry in self._evidence_offered(slide)):
            return self.evidence(slide)[:, int(place[0])]
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
        return jsd_between_epochs(cell.epochs(slide)) if cell in self.recorded(slide) else None

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


class PredictedLayers:
    """What there is of new slides: the mean attention of the models and, where `evidence` gives it by class, that."""

    def __init__(self, predicted: PredictedFolder, evidence: Callable[[str], Mapping[str, np.ndarray]] | None):
        self._predicted, self._evidence = predicted, evidence
        self._lock, self._kept = threading.Lock(), dict[str, np.ndarray]()

    def offered(self, slide: str) -> list[Facts]:
        """The layers of a slide for a menu: `id`, `group`, `label`."""
        if self._predicted.attention(slide) is None:
            return []
        entries = [] if self._evidence is None else _evidence_entries(self._predicted.classes, NEW)
        return [{"id": "mean", "group": NEW, "label": "attention, mean of the models"}, *entries]

    def evidence(self, slide: str) -> np.ndarray:
        """Evidence (tiles, classes), of a few slides kept; of a model that has none an error says so."""
        with self._lock:
            if slide not in self._kept:
                found = {} if self._evidence is None else self._evidence(slide)
                if not found:
                    raise NotOfferedError(f"there is no evidence of the tiles of {slide}")
                self._kept[slide] = np.stack([found[name] for name in self._predicted.classes], axis=1)
                while len(self._kept) > KEPT_SLIDES:
                    self._kept.pop(next(iter(self._kept)))
            return self._kept[slide]

    def values(self, slide: str, layer: str) -> np.ndarray:
        """The layer as float64 (tiles,).

        Raises:
            NotOfferedError: the slide has no such layer.
        """
        attention = self._predicted.attention(slide)
        if layer in {entry["id"] for entry in self.offered(slide)} and attention is not None:
            return attention.astype(np.float64) if layer == "mean" else self.evidence(slide)[:, int(layer[9:])]
        raise NotOfferedError(f"slide {slide} has no such layer", found=layer)

    def unrest(self, slide: str) -> dict[str, float | None]:
        """Of predictions the mean of all models is kept alone: nothing tells how far they differ in attention."""
        return {"seeds": None, "epochs": None}


NEW = "New slide"


def _evidence_entries(classes: Sequence[str], group: str) -> list[Facts]:
    """A layer for each class; of two classes for the second, as the other is its opposite."""
    named = list(enumerate(classes))
    kept = named[1:] if len(named) == 2 else named
    return [{"id": f"evidence-{i}", "group": group, "label": f"evidence for {name}"} for i, name in kept]


def _entry(cell: Cell, kind: str, group: str) -> Facts:
    label = f"{group} · fold {cell.fold}, seed {cell.seed}"
    place = {"fold": cell.fold, "seed": cell.seed}
    return {"id": f"{kind}-{cell.fold}-{cell.seed}", "group": group.capitalize(), "label": label} | place
