"""Bags through a trained model: probabilities, attention and embeddings, without touching any random state."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from asmil.bags import Bag, BagBatch
from asmil.training.batches import is_elsewhere, lists_of, packed


@dataclass(frozen=True)
class Prediction:
    """One slide: `probabilities` (classes,), `attention` (tiles,) that sums to 1, `embedding` (dim,), `loss` in nats
    (NaN without a label)."""

    slide: str
    probabilities: np.ndarray
    attention: np.ndarray
    embedding: np.ndarray
    loss: float


@torch.no_grad()
def predict(model: nn.Module, bags: Sequence[Bag], *, batch_size: int = 16) -> list[Prediction]:
    """Predict bags in evaluation mode; the model's mode is restored afterwards.

    Batches hold up to `batch_size` bags, fewer where these are large.
    """
    was_training = model.training
    model.eval()
    device = next(iter(model.parameters())).device
    lists = lists_of(bags, most_tiles=_TILES_AT_ONCE, most_bags=batch_size)
    batches = packed(lists, device=device, ahead=is_elsewhere(bags, device))
    try:
        return [row for batch in batches for row in _predict_batch(model, batch)]
    finally:
        model.train(was_training)


_TILES_AT_ONCE = 65_536
"""Of a batch without gradients: 128 MB of 1024 float16 features."""


def _predict_batch(model: nn.Module, batch: BagBatch) -> Iterator[Prediction]:
    output = model(batch)
    logits = output.logits.float()
    losses = torch.full((len(batch),), torch.nan)
    if batch.labels is not None:
        losses = F.cross_entropy(logits, batch.labels, reduction="none").cpu()
    probabilities = logits.softmax(1).cpu().numpy()
    embeddings = output.embedding.float().cpu().numpy()
    maps = batch.split(output.attention.float().cpu())
    for i, slide in enumerate(batch.slides):
        yield Prediction(slide, probabilities[i], maps[i].numpy(), embeddings[i], float(losses[i]))
