"""Nystrom attention: softmax attention among all tokens through a few landmarks, no (tokens x tokens) matrix."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from asmil.models._layers import require

KERNEL = 33  # tokens that the depth-wise convolution of the values sees
ITERATIONS = 6  # of the pseudo-inverse


class Factors(NamedTuple):
    """Attention of some queries over all tokens as the product `first @ middle @ last`.

    `first` (heads, queries, landmarks), `middle` (heads, landmarks, landmarks), `last` (heads, landmarks,
    tokens) = softmax of `scores` over the tokens.
    """

    first: Float[Tensor, "heads queries landmarks"]
    middle: Float[Tensor, "heads landmarks landmarks"]
    last: Float[Tensor, "heads landmarks tokens"]
    scores: Float[Tensor, "heads landmarks tokens"]


class NystromAttention(nn.Module):
    """Self-attention of one bag, (tokens, dim) -> (tokens, dim), linear in the number of tokens.

        q~, k~ = means of q, k over consecutive segments of ceil(tokens / landmarks) tokens
        out = softmax(q k~^T) pinv(softmax(q~ k~^T)) (softmax(q~ k^T) v) + convolution of v along the tokens

    heads merged by a linear map, then dropout; q is scaled by 1 / sqrt(dim / heads).

    Source: Nystromformer, AAAI 2021, arXiv 2102.03902, with 6 iterations of its pinv. Deviations: where the
    tokens do not fill the segments the public code puts zeros in front; here these are masked, and all that a
    masked token can do is to shorten the first segment or to leave a landmark without tokens out, so none is
    stored. The pinv's two maxima are per bag and head, theirs over all heads and bags of a batch.

    Raises:
        ConfigError: heads that do not divide `dim`, no landmarks, or a dropout out of range.
    """

    def __init__(self, dim: int, *, heads: int, landmarks: int, dropout: float):
        super().__init__()
        require(
            heads > 0 and dim % heads == 0,
            "the width of the model must be a multiple of its heads",
            found=f"dim={dim}, heads={heads}",
            fix="choose dim as a multiple of heads",
        )
        require(landmarks > 0, "there must be landmarks", found=landmarks, fix="half the width is usual")
        require(0 <= dropout < 1, "dropout is a share in [0, 1)", found=dropout, fix="0.1 is usual, 0 is none")
        self.heads, self.landmarks = heads, landmarks
        self.query_key = nn.Linear(dim, 2 * dim, bias=False)
        self.value = nn.Linear(dim, dim, bias=False)
        self.residual = nn.Conv2d(heads, heads, (KERNEL, 1), padding=(KERNEL // 2, 0), groups=heads, bias=False)
        self.out = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Float[Tensor, "tokens dim"]) -> Float[Tensor, "tokens dim"]:
        return self.read(tokens, self.factors(tokens))

    def scores(self, tokens: Float[Tensor, "tokens dim"]) -> Float[Tensor, "heads landmarks tokens"]:
        """Landmark -> token attention before its softmax, with no more work than it takes."""
        query, key = self._query_key(tokens)
        return self._means(query) @ key.mT

    def factors(self, tokens: Float[Tensor, "tokens dim"], *, queries: int | None = None) -> Factors:
        """The three factors of the attention, for the first `queries` tokens (None: all)."""
        query, key = self._query_key(tokens)
        query_means, key_means = self._means(query), self._means(key)
        scores = query_means @ key.mT
        return Factors(
            first=(query[:, :queries] @ key_means.mT).softmax(-1),
            middle=pseudo_inverse((query_means @ key_means.mT).softmax(-1)),
            last=scores.softmax(-1),
            scores=scores,
        )

    def read(self, tokens: Float[Tensor, "tokens dim"], factors: Factors) -> Float[Tensor, "queries dim"]:
        """The output for the queries of `factors`."""
        value = self._split(self.value(tokens))
        attended = factors.first @ (factors.middle @ (factors.last @ value))
        queries = attended.shape[1]
        near = value[:, : queries + KERNEL // 2]  # all that the convolution can see from the queries
        merged = attended + self.residual(near[None])[0, :, :queries]
        return self.dropout(self.out(merged.transpose(0, 1).flatten(1)))

    def _query_key(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        query, key = self.query_key(tokens).chunk(2, dim=-1)
        query, key = self._split(query), self._split(key)
        return query / math.sqrt(query.shape[-1]), key

    def _split(self, vectors: Tensor) -> Tensor:
        """(tokens, dim) -> (heads, tokens, head_dim)."""
        return vectors.unflatten(-1, (self.heads, -1)).transpose(0, 1)

    def _means(self, vectors: Tensor) -> Tensor:
        """(heads, tokens, head_dim) -> (heads, landmarks, head_dim), the first segment being the short one."""
        tokens = vectors.shape[1]
        size = -(-tokens // self.landmarks)
        full = -(-tokens // size) - 1
        short = vectors[:, : tokens - full * size].mean(1, keepdim=True)
        return torch.cat([short, vectors[:, tokens - full * size :].unflatten(1, (full, size)).mean(2)], 1)


def pseudo_inverse(matrix: Float[Tensor, "... n n"]) -> Float[Tensor, "... n n"]:
    """The Moore-Penrose inverse of matrices without negative entries, approximately, by products only.

    Each matrix starts from its own transpose over the largest column sum times the largest row sum. In float32
    at least, also under autocast: half precision does not converge.
    """
    with torch.autocast(matrix.device.type, enabled=False):
        matrix = matrix.to(torch.promote_types(matrix.dtype, torch.float32))
        largest = matrix.sum(-2).amax(-1) * matrix.sum(-1).amax(-1)
        inverse = matrix.mT / largest[..., None, None]
        one = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
        for _ in range(ITERATIONS):
            product = matrix @ inverse
            inverse = inverse @ (13 * one - product @ (15 * one - product @ (7 * one - product))) / 4
        return inverse
