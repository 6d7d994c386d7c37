"""Whole training steps on one bag, to be called many times: ours, textbook forms, and the products no form avoids."""

import copy
import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from asmil.attention import AttentionStabilizer
from asmil.bags import Bag, BagBatch
from asmil.bench.timing import Step
from asmil.models import create_model
from asmil.training import Stack, TrainSettings

# ASMIL as in a textbook, token by token: the production model is compared with it in speed and numbers.


class TokenAttention(nn.Module):
    """One token's multi-head attention over (inputs, dim), with every projection spelled out."""

    def __init__(self, dim: int, heads: int, *, dropout: float):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(dim, dim) for _ in range(4))
        self.dropout, self.norm = nn.Dropout(dropout), nn.LayerNorm(dim, eps=1e-6)

    def forward(self, token: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """The token's output (dim,) and its scores (heads, inputs)."""

        def split(x: Tensor) -> Tensor:
            return x.view(x.shape[0], self.heads, -1).transpose(0, 1)

        q, k, v = split(self.query(token[None])), split(self.key(inputs)), split(self.value(inputs))
        scores = q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])
        out = (scores.softmax(-1) @ v).transpose(0, 1).reshape(1, -1)
        return self.norm(self.dropout(self.out(out)))[0], scores[:, 0]


class TextbookASMIL(nn.Module):
    """One bag (tiles, in_dim) to logits (1, classes), attention (tiles,) and scores (tiles, tokens * heads).

    `shared` uses one `TokenAttention` for all tokens. Without token dropping: it costs nothing and would make
    the comparison random.
    """

    def __init__(
        self,
        in_dim: int,
        n_classes: int,
        *,
        dim: int,
        tokens: int = 8,
        heads: int = 8,
        shared: bool,
        dropout=0.1,
    ):
        super().__init__()
        self.projection = nn.Linear(in_dim, dim, bias=False)
        self.tokens = nn.Parameter(torch.randn(tokens, dim) * 0.02)
        self.cls_token = nn.Parameter(torch.randn(1, dim) * 0.02)
        self.feat = nn.ModuleList(TokenAttention(dim, heads, dropout=dropout) for _ in range(1 if shared else tokens))
        self.cls = TokenAttention(dim, heads, dropout=dropout)
        self.classifier = nn.Linear(dim, n_classes)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, attention and scores of one bag."""
        tiles = torch.relu(self.projection(features))
        outputs, scores = [], []
        for index, token in enumerate(self.tokens):
            output, score = self.feat[index % len(self.feat)](token, tiles)
            outputs.append(output)
            scores.append(score)
        rows = torch.cat(scores)
        embedding, _ = self.cls(self.cls_token[0], torch.stack(outputs))
        return self.classifier(embedding)[None], rows.softmax(-1).mean(0), rows.T


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
    model.train()
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
