"""ASMIL as in a textbook, token by token: the production model is compared with it in speed and numbers."""

import math

import torch
from torch import Tensor, nn


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

    def production_names(self) -> dict[str, list[Tensor]]:
        """Own parameters under the production names; a stacked parameter is the list of its sets."""
        named: dict[str, list[Tensor]] = {
            "projection.linear.weight": [self.projection.weight],
            "feat.tokens": [self.tokens],
            "cls.tokens": [self.cls_token],
            "classifier.weight": [self.classifier.weight],
            "classifier.bias": [self.classifier.bias],
        }
        for block, sets in (("feat", list(self.feat)), ("cls", [self.cls])):
            for layer in ("query", "key", "value", "out", "norm"):
                for kind in ("weight", "bias"):
                    dot = "_" if layer == "norm" else "."
                    named[f"{block}.{layer}{dot}{kind}"] = [getattr(getattr(s, layer), kind) for s in sets]
        return named

    @torch.no_grad()
    def load_production(self, state: dict[str, Tensor]) -> None:
        """Take the weights of a production model of the same sizes; every entry must be used."""
        named = self.production_names()
        if named.keys() != state.keys():
            raise ValueError(f"other parameters than expected: {sorted(named.keys() ^ state.keys())}")
        for name, parameters in named.items():
            value = state[name]
            for parameter, part in zip(
                parameters, value if value.dim() > parameters[0].dim() else [value], strict=True
            ):
                parameter.copy_(part)
