"""Bags through a trained model: probabilities, attention and embeddings, without touching any random state."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from asmil.bags import Bag, BagBatch
from asmil.tasks import Task
from asmil.training.batches import is_elsewhere, lists_of, packed


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


@torch.no_grad()
def predict(
    model: nn.Module, bags: Sequence[Bag], *, batch_size: int = 16, task: Task | None = None
) -> list[Prediction]:
    """Predict bags in evaluation mode; the model's mode is restored afterwards.

    Batches hold up to `batch_size` bags, fewer where these are large. `task` is the fitted one, None for
    classification.
    """
    was_training = model.training
    model.eval()
    device = next(iter(model.parameters())).device
    lists = lists_of(bags, most_tiles=_TILES_AT_ONCE, most_bags=batch_size)
    batches = packed(lists, device=device, ahead=is_elsewhere(bags, device))
    try:
        found = [row for batch in batches for row in _predict_batch(model, batch, task)]
    finally:
        model.train(was_training)
    return found if task is None else _of_task(task, found, bags)


def _of_task(task: Task, predictions: list[Prediction], bags: Sequence[Bag]) -> list[Prediction]:
    """Logits to values and losses, of all bags at once: a loss may compare bags."""
    if not predictions:
        return []
    logits = np.stack([p.probabilities for p in predictions])
    values, losses = task.values(logits), torch.full((len(bags),), torch.nan)
    known = [bag.target for bag in bags if bag.target is not None]
    if len(known) == len(bags):
        losses = task.loss(torch.from_numpy(logits), torch.tensor(known))
    rows = zip(predictions, values, losses.tolist(), strict=True)
    return [replace(p, probabilities=value, loss=loss) for p, value, loss in rows]


_TILES_AT_ONCE = 65_536
"""Of a batch without gradients: 128 MB of 1024 float16 features."""


def _predict_batch(model: nn.Module, batch: BagBatch, task: Task | None) -> Iterator[Prediction]:
    output = model(batch)
    logits = output.logits.float()
    losses = torch.full((len(batch),), torch.nan)
    if batch.labels is not None and task is None:
        losses = F.cross_entropy(logits, batch.labels, reduction="none").cpu()
    probabilities = (logits.softmax(1) if task is None else logits).cpu().numpy()
    embeddings = output.embedding.float().cpu().numpy()
    maps = batch.split(output.attention.float().cpu())
    for i, slide in enumerate(batch.slides):
        yield Prediction(slide, probabilities[i], maps[i].numpy(), embeddings[i], float(losses[i]))
