"""Whole training steps on one bag, to be called many times: ours, textbook forms, and the products no form avoids."""

import copy
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from asmil.attention import AttentionStabilizer
from asmil.bags import Bag, BagBatch
from asmil.bench.textbook import TextbookASMIL
from asmil.bench.timing import Step
from asmil.models import create_model
from asmil.training import Stack, TrainSettings

AS_TEXTBOOK: dict[str, object] = {"variant": "per_token", "feature_dropout": 0.0}
"""Options of our model with which it is the textbook's."""
ROWS = 64
"""Columns of scores: 8 tokens of 8 heads."""


def our_step(features: Tensor, dim: int, **options: object) -> Step:
    """What `fit` does in a step on a bag, features (tiles, in_dim), without reading it."""
    torch.manual_seed(0)
    model = create_model("asmil", in_dim=features.shape[1], n_classes=2, dim=dim, **options).to(features.device)
    stabilizer, settings = AttentionStabilizer(model), TrainSettings()
    stack = Stack([model], [stabilizer], keys=[("seed", 0)], settings=settings)
    stack.train()
    stabilizer.begin_when_due()
    batch = BagBatch.from_bags(Bag(features, label=0))
    return partial(stack.step, batch, [settings.learning_rate], at=(0, 1), measure=False)


def textbook_step(features: Tensor, dim: int) -> Step:
    """Eight tokens with projections of their own in textbook order; an anchor by NSF; its KL a mean over the tiles of a
    difference of logarithms; clipping; plain AdamW; a moving average key by key.
    """
    torch.manual_seed(0)
    features = features.float()
    model = TextbookASMIL(features.shape[1], 2, dim=dim, shared=False).to(features.device)
    anchor = copy.deepcopy(model).eval().requires_grad_(False)
    label = torch.zeros(1, dtype=torch.int64, device=features.device)
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


def limit_step(features: Tensor, dim: int) -> Step:
    """The products of any form, into memory that is there: the tiles projected online and in the anchor, and the
    gradient of the projection. Both variants need these and nothing larger, as folded keys and values are products of
    parameters only. And those with 64 columns (tokens x heads): scores of both branches, pooling, and in the backward
    pass the gradients of weights, of keys, and the two parts of the tiles' own.
    """
    features = features.float()
    tiles, in_dim = features.shape
    # by random numbers: products of zeros and ones can take less power, and so run faster
    weight, rows = (torch.randn(*shape, device=features.device) for shape in ((in_dim, dim), (dim, ROWS)))
    hidden, scores = (torch.randn(tiles, width, device=features.device) for width in (dim, ROWS))
    back, by_row = torch.empty_like(weight), torch.empty_like(rows.T)

    def step() -> None:
        for _ in range(2):
            torch.mm(features, weight, out=hidden)
        torch.mm(features.T, hidden, out=back)
        for _ in range(3):
            torch.mm(hidden, rows, out=scores)
        for _ in range(2):
            torch.mm(scores.T, hidden, out=by_row)
        for _ in range(2):
            torch.mm(scores, rows.T, out=hidden)

    return step


def least_flops(features: Tensor, dim: int) -> float:
    """Operations of `limit_step`."""
    tiles, in_dim = features.shape
    return 2.0 * tiles * dim * (3 * in_dim + 7 * ROWS)
