"""Whole training steps on one bag, to be called many times: ours, the textbook's, and the products no form avoids."""

import copy
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from asmil.attention import AttentionStabilizer
from asmil.bags import Bag, BagBatch
from asmil.bench.textbook import TextbookASMIL
from asmil.bench.timing import Step
from asmil.models import create_model
from asmil.training.optim import TrainSettings, make_optimizer

BETA, MOMENTUM = 0.1, 0.999
ROWS = 64
"""Columns of scores: 8 tokens of 8 heads."""


def our_step(features: Tensor, *, dim: int, variant: str = "per_token") -> Step:
    """The step of `fit` on one bag, features (tiles, in_dim): forward, anchor, KL, backward, clipping, AdamW, EMA.

    Without dropout of features, which the textbook form does not have either.
    """
    torch.manual_seed(0)
    settings = TrainSettings()
    options: dict[str, Any] = {"dim": dim, "variant": variant, "feature_dropout": 0}
    model = create_model("asmil", in_dim=features.shape[1], n_classes=2, **options).to(features.device).train()
    stabilizer = AttentionStabilizer(model, beta=BETA, momentum=MOMENTUM)
    optimizer = make_optimizer(model, settings)
    batch = BagBatch.from_bags(Bag(features, label=0))

    def step() -> None:
        task = F.cross_entropy(model(batch).logits, batch.labels)
        align = stabilizer.loss(task)
        optimizer.zero_grad(set_to_none=True)
        (task + align).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
        optimizer.step()
        stabilizer.update()

    return step


def textbook_step(features: Tensor, *, dim: int) -> Step:
    """The same step written as the formulas read, one token after the other, with an average entry by entry."""
    torch.manual_seed(0)
    features = features.float()
    model = TextbookASMIL(features.shape[1], 2, dim=dim, shared=False).to(features.device)
    anchor, label = copy.deepcopy(model).eval(), torch.zeros(1, dtype=torch.long, device=features.device)
    optimizer = torch.optim.AdamW(model.parameters(), foreach=False)

    def step() -> None:
        logits, _, scores = model(features)
        with torch.no_grad():
            gates = torch.sigmoid(anchor(features)[2])
            target = gates / gates.sum(0)
        divergence = (target * (target.log() - scores.softmax(0).log())).sum(0).mean()
        loss = F.cross_entropy(logits, label) + BETA * divergence
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), TrainSettings().clip_norm)
        optimizer.step()
        with torch.no_grad():
            online = model.state_dict()
            for name, value in anchor.state_dict().items():
                value.copy_(MOMENTUM * value + (1 - MOMENTUM) * online[name])

    return step


def limit_step(features: Tensor, *, dim: int) -> Step:
    """The products that no form of the step avoids, into buffers made once.

    The projection of model and anchor in one product and its gradient, and seven skinny ones with a column per token
    and head: scores of both, pooling, the gradients of its weights and of the folded query, and those of the tiles.
    """
    tiles = features.float()
    count, in_dim = tiles.shape
    weights, skinny = tiles.new_ones(in_dim, 2 * dim), tiles.new_ones(dim, ROWS)
    both, hidden = tiles.new_zeros(count, 2 * dim), tiles.new_zeros(count, dim)
    columns, summed, gradient = tiles.new_zeros(count, ROWS), tiles.new_zeros(ROWS, dim), tiles.new_zeros(in_dim, dim)

    def step() -> None:
        torch.mm(tiles, weights, out=both)
        for _ in range(3):
            torch.mm(hidden, skinny, out=columns)
        for _ in range(2):
            torch.mm(columns.T, hidden, out=summed)
        for _ in range(2):
            torch.mm(columns, skinny.T, out=hidden)
        torch.mm(tiles.T, hidden, out=gradient)

    return step


def least_flops(features: Tensor, *, dim: int) -> float:
    """Operations of `limit_step`."""
    count, in_dim = features.shape
    return 2.0 * count * dim * (3 * in_dim + 7 * ROWS)
