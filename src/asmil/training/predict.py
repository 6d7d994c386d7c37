"""Bags through a trained model: probabilities, attention and embeddings, without touching any random state."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from asmil.attention import is_even
from asmil.bags import Bag, BagBatch
from asmil.tasks import Task
from asmil.training.batches import ON_CPU, TILES_AT_ONCE, is_elsewhere, lists_of, packed


@dataclass(frozen=True)
class Prediction:
    """One slide: `probabilities` (classes,), `attention` (tiles,) that sums to 1, `embedding` (dim,), `loss` in nats
    (NaN without a label).

    In another task than classification, `probabilities` are its values (`Task.value_names`) and `loss` is its share.
    """

    slide: str
    probabilities: np.ndarray
    attention: np.ndarray
    embedding: np.ndarray
    loss: float


def predict(
    model: nn.Module, bags: Iterable[Bag], *, batch_size: int = 16, task: Task | None = None
) -> list[Prediction]:
    """Predict bags in evaluation mode; the model's mode is restored afterwards.

    Batches hold up to `batch_size` bags, fewer where these are large. `task` is the fitted one, None for
    classification.
    """
    bags = list(bags)
    if not bags:
        return []

    def outputs(batch: BagBatch) -> Outputs:
        output = model(batch)
        return output.logits.float()[None], output.attention.float()[None], output.embedding.float()[None]

    was_training, device = model.training, next(iter(model.parameters())).device
    model.eval()
    try:
        return predict_each([outputs], bags, device=device, task=task, batch_size=batch_size)[0]
    finally:
        model.train(was_training)


Outputs = tuple[Tensor, Tensor, Tensor]
"""Of several models: logits (models, bags, outputs), attention (models, tiles), embedding (models, bags, dim)."""


@torch.no_grad()
def predict_each(
    outputs: Sequence[Callable[[BagBatch], Outputs]],
    bags: Sequence[Bag],
    *,
    device: torch.device,
    models: int = 1,
    task: Task | None = None,
    batch_size: int | None = None,
) -> list[list[Prediction]]:
    """The predictions of every model on every bag (one, or more), from what each of the `outputs` gives for a batch.

    `models` is how many of them are at work at once: they share the memory for a batch.
    """
    most = ON_CPU if device.type == "cpu" else TILES_AT_ONCE // models
    lists = lists_of(bags, most_tiles=most, most_bags=batch_size)
    found = [
        [torch.cat(part) for part in zip(*(each(batch) for each in outputs), strict=True)]
        for batch in packed(lists, device=device, ahead=is_elsewhere(bags, device))
    ]
    logits, attention, embedding = (torch.cat(part, 1).cpu() for part in zip(*found, strict=True))
    ends = np.cumsum([len(bag) for bag in bags])[:-1]
    several = []
    for own, maps, vectors in zip(logits, attention.numpy(), embedding.numpy(), strict=True):
        values, losses = _valued(own, bags, task=task)
        rows = zip(bags, values, np.split(maps, ends), vectors, losses, strict=True)
        several.append([Prediction(bag.slide, *row) for bag, *row in rows])
    return several


def even_maps(predictions: Sequence[Prediction]) -> list[bool]:
    """Of each map of several tiles, whether it prefers no tile."""
    return [is_even(p.attention) for p in predictions if len(p.attention) > 1]


def _valued(
    logits: Float[Tensor, "bags outputs"], bags: Sequence[Bag], *, task: Task | None
) -> tuple[np.ndarray, list[float]]:
    """Probabilities (or the values of a task) and losses of all bags at once: a task's loss may compare bags."""
    unknown = torch.full((len(bags),), torch.nan)
    if task is not None:
        known = [bag.target for bag in bags if bag.target is not None]
        losses = task.loss(logits, torch.tensor(known)) if len(known) == len(bags) else unknown
        return task.values(logits.numpy()), losses.tolist()
    labels = torch.tensor([-1 if bag.label is None else bag.label for bag in bags])
    losses = F.cross_entropy(logits, labels.clamp(min=0), reduction="none").where(labels >= 0, unknown)
    return logits.softmax(1).numpy(), losses.tolist()
