"""Whole training steps to compare: as published, ours, plain ABMIL, and the products that none of them can avoid."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from asmil.attention import AttentionStabilizer
from asmil.bags.bag import Bag, BagBatch
from asmil.models import create_model
from asmil.training.optim import TrainSettings, make_optimizer
from benchmarks._textbook import TextbookASMIL

Step = Callable[[], None]


def published(features: Tensor, dim: int) -> Step:
    """Eight tokens with projections of their own in textbook order; an anchor by NSF; its KL a mean over the tiles of a
    difference of logarithms; clipping; plain AdamW; a moving average key by key.
    """
    features = features.float()
    model, label = TextbookASMIL(features.shape[1], 2, dim=dim, shared=False), torch.tensor([0])
    anchor = copy.deepcopy(model).eval().requires_grad_(False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=1e-5, foreach=False)

    def step() -> None:
        logits, _, scores = model(features)
        with torch.no_grad():
            sigmoid = anchor(features)[2].T.sigmoid()
            target = sigmoid / sigmoid.sum(-1, keepdim=True)
        difference = (target + 1e-8).log() - (scores.T.softmax(-1) + 1e-8).log()
        loss = cross_entropy(logits, label) + (target * difference).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        with torch.no_grad():
            online = model.state_dict()
            for name, value in anchor.state_dict().items():
                value.copy_(value * 0.999 + online[name] * 0.001)

    return step


def ours(features: Tensor, dim: int, *, name: str = "asmil", stabilized: bool = True, **options) -> Step:
    """What `fit` does in a step, without reading the bag."""
    model = create_model(name, in_dim=features.shape[1], n_classes=2, dim=dim, **options).train()
    stabilizer = AttentionStabilizer(model, beta=0.1) if stabilized else None
    settings = TrainSettings()
    optimizer = make_optimizer(model, settings)
    batch = BagBatch.from_bags(Bag(features, label=0))

    def step() -> None:
        task = cross_entropy(model(batch).logits.float(), batch.labels)
        loss = task if stabilizer is None else task + stabilizer.loss(task)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
        optimizer.step()
        if stabilizer:
            stabilizer.update()

    return step


def plain_abmil(features: Tensor, dim: int, *, hidden: int = 128) -> Step:
    """Gated attention pooling as it is usually written, with dropout of .25, clipping and AdamW."""
    embed = nn.Sequential(nn.Linear(features.shape[1], dim), nn.ReLU(), nn.Dropout(0.25))
    content, gate = nn.Linear(dim, hidden), nn.Linear(dim, hidden)
    score, classify = nn.Linear(hidden, 1), nn.Linear(dim, 2)
    parameters = [p for part in (embed, content, gate, score, classify) for p in part.parameters()]
    optimizer, label = torch.optim.AdamW(parameters, lr=1e-4), torch.tensor([0])

    def step() -> None:
        tiles = embed(features.float())
        weights = score(content(tiles).tanh() * gate(tiles).sigmoid()).softmax(0)
        loss = cross_entropy(classify(weights.T @ tiles), label)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()

    return step


def least(features: Tensor, dim: int, *, skinny: bool = False) -> Step:
    """The products of any form, into memory that is there: the tiles projected online and in the anchor, and the
    gradient of the projection. Both variants need these and nothing larger, as folded keys and values are products of
    parameters only. `skinny` adds those with 64 columns (tokens x heads): scores of both branches, pooling, and in the
    backward pass the gradients of weights, of keys, and the two parts of the tiles' own.
    """
    features = features.float()
    tiles, in_dim = features.shape
    weight, rows = torch.randn(in_dim, dim), torch.randn(dim, 64)
    hidden, back = torch.randn(tiles, dim), torch.empty(in_dim, dim)
    scores, by_row = torch.randn(tiles, 64), torch.empty(64, dim)

    def step() -> None:
        for _ in range(2):
            torch.mm(features, weight, out=hidden)
        torch.mm(features.T, hidden, out=back)
        if skinny:
            for _ in range(3):
                torch.mm(hidden, rows, out=scores)
            for _ in range(2):
                torch.mm(scores.T, hidden, out=by_row)
            for _ in range(2):
                torch.mm(scores, rows.T, out=hidden)

    return step
