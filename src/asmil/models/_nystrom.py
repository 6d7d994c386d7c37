"""Nystrom attention: softmax attention among all tokens through a few landmarks, no (tokens x tokens) matrix."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from asmil.bags import on_device
from asmil.models._layers import require, require_heads

KERNEL = 33  # tokens that the depth-wise convolution of the values sees
ITERATIONS = 6  # of the pseudo-inverse


class Segments(NamedTuple):
    """How bags of tokens, padded to the longest, are cut into landmarks.

    `means` (bags, landmarks, tokens): row l gives the mean of segment l; a bag of fewer segments repeats its own
    cyclically. `used`: the most segments of a bag. `tokens` (bags, 1, 1, tokens) and `landmarks` (bags, 1, 1,
    used) are 0 where there is one and -inf elsewhere; None where nothing is padded.
    """

    means: Float[Tensor, "bags landmarks tokens"]
    used: int
    tokens: Tensor | None
    landmarks: Tensor | None

    @classmethod
    def of(cls, lengths: Sequence[int], *, landmarks: int, like: Tensor) -> "Segments":
        """Segments of ceil(length / landmarks) tokens, the first one shorter; dtype and device of `like`."""
        sizes = [-(-length // landmarks) for length in lengths]
        counts = [-(-length // size) for length, size in zip(lengths, sizes, strict=True)]
        length, size, count = on_device(torch.tensor([list(lengths), sizes, counts]), like.device)[..., None]
        place = torch.arange(max(lengths), device=like.device)
        row = torch.arange(landmarks, device=like.device)
        segment = torch.where(place < length, (place + size * count - length) // size, -1)
        member = (segment[:, None] == (row % count)[..., None]).to(like.dtype)
        means = member / member.sum(-1, keepdim=True)
        used = max(counts)
        if min(lengths) == max(lengths):
            return cls(means, used, None, None)
        tokens, rows = (_bias(there, like) for there in (place < length, row[:used] < count))
        return cls(means, used, tokens, rows)


def _bias(there: Tensor, like: Tensor) -> Tensor:
    return torch.zeros_like(there, dtype=like.dtype).masked_fill(~there, -torch.inf)[:, None, None]


class Factors(NamedTuple):
    """Attention of some queries over all tokens as the product `first @ middle @ last`.

    `first` (bags, heads, queries, landmarks), `middle` (bags, heads, landmarks, landmarks), `last` (bags, heads,
    landmarks, tokens) = softmax of `scores` over the tokens; `scores` have all rows of `Segments.means`.
    """

    first: Float[Tensor, "bags heads queries landmarks"]
    middle: Float[Tensor, "bags heads landmarks landmarks"]
    last: Float[Tensor, "bags heads landmarks tokens"]
    scores: Float[Tensor, "bags heads rows tokens"]


class NystromAttention(nn.Module):
    """Self-attention within each bag, (bags, tokens, dim) -> the same, linear in the number of tokens.

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
        require_heads(dim, heads)
        require(landmarks > 0, "there must be landmarks", found=landmarks, fix="half the width is usual")
        require(0 <= dropout < 1, "dropout is a share in [0, 1)", found=dropout, fix="0.1 is usual, 0 is none")
        self.heads, self.landmarks = heads, landmarks
        self.query_key = nn.Linear(dim, 2 * dim, bias=False)
        self.value = nn.Linear(dim, dim, bias=False)
        self.residual = nn.Conv2d(heads, heads, (KERNEL, 1), padding=(KERNEL // 2, 0), groups=heads, bias=False)
        self.out = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Float[Tensor, "bags tokens dim"], segments: Segments) -> Float[Tensor, "bags tokens dim"]:
        """Padding has to be 0 in `tokens`; what comes out there means nothing."""
        return self.read(tokens, self.factors(tokens, segments))

    def scores(
        self, tokens: Float[Tensor, "bags tokens dim"], segments: Segments
    ) -> Float[Tensor, "bags heads rows tokens"]:
        """Landmark -> token attention before its softmax, with no more work than it takes."""
        query, key = self._weights()
        return self._split(F.linear(segments.means @ tokens, query)) @ self._split(F.linear(tokens, key)).mT

    def factors(
        self, tokens: Float[Tensor, "bags tokens dim"], segments: Segments, *, queries: int | None = None
    ) -> Factors:
        """The three factors of the attention, for the first `queries` tokens (None: all)."""
        query, key = self._weights()
        means = segments.means @ tokens  # the means of q and k follow from those of the tokens
        query_means = self._split(F.linear(means, query))
        key_means = self._split(F.linear(means[:, : segments.used], key)).mT
        scores = query_means @ self._split(F.linear(tokens, key)).mT
        middle = _softmax(query_means[:, :, : segments.used] @ key_means, segments.landmarks)
        if segments.landmarks is not None:
            middle = middle * segments.landmarks.mT.exp()  # zero rows and columns stay so in the inverse
        return Factors(
            first=_softmax(self._split(F.linear(tokens[:, :queries], query)) @ key_means, segments.landmarks),
            middle=pseudo_inverse(middle),
            last=_softmax(scores[:, :, : segments.used], segments.tokens),
            scores=scores,
        )

    def read(self, tokens: Float[Tensor, "bags tokens dim"], factors: Factors) -> Float[Tensor, "bags queries dim"]:
        """The output for the queries of `factors`."""
        value = self._split(self.value(tokens))
        attended = factors.first @ (factors.middle @ (factors.last @ value))
        if attended.shape[2] == 1:  # of the convolution, one place is quicker by hand
            near = value[:, :, : KERNEL // 2 + 1]
            merged = attended + self.residual.weight[:, 0, KERNEL // 2 :, 0][:, None, : near.shape[2]] @ near
        else:
            merged = attended + self.residual(value)
        return self.dropout(self.out(merged.transpose(1, 2).flatten(2)))

    def _weights(self) -> tuple[Tensor, Tensor]:
        """Those of the queries, scaled, and of the keys."""
        query, key = self.query_key.weight.chunk(2)
        return query * (self.heads / len(key)) ** 0.5, key

    def _split(self, vectors: Tensor) -> Tensor:
        """(bags, tokens, dim) -> (bags, heads, tokens, head_dim)."""
        return vectors.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def _softmax(logits: Tensor, bias: Tensor | None) -> Tensor:
    return (logits if bias is None else logits + bias).softmax(-1)


def pseudo_inverse(matrix: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """The Moore-Penrose inverse of matrices without negative entries, approximately, by products only.

    Each matrix starts from its own transpose over the largest column sum times the largest row sum. In float32
    at least, also under autocast: half precision does not converge.
    """
    with torch.autocast(matrix.device.type, enabled=False):
        matrix = matrix.to(torch.promote_types(matrix.dtype, torch.float32))
        largest = matrix.sum(-2).amax(-1) * matrix.sum(-1).amax(-1)
        flat = matrix.flatten(0, -3)
        inverse = _Inverse.apply(flat, flat.mT / largest.flatten()[:, None, None])
        return inverse.unflatten(0, matrix.shape[:-2])


class _Inverse(torch.autograd.Function):
    """The iteration from a start, with a gradient in few products; its steps are done again for it, not kept."""

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int, int], matrix: Tensor, start: Tensor) -> tuple[Tensor, int]:
        """Several models are more matrices of one batch: torch itself would take the products of `_step` apart."""
        flat = (part.movedim(dim, 0).flatten(0, 1) for part, dim in zip((matrix, start), in_dims, strict=True))
        return _Inverse.apply(*flat).unflatten(0, (info.batch_size, -1)), 0

    @staticmethod
    def forward(matrix: Tensor, start: Tensor) -> Tensor:
        for _ in range(ITERATIONS):
            start = _step(matrix, start)[0]
        return start

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        matrix, inverse = ctx.saved_tensors
        steps = []
        for _ in range(ITERATIONS):
            after, *parts = _step(matrix, inverse)
            steps.append((inverse, *parts))
            inverse = after
        # Gradients are held transposed: then no factor of a product is, which takes twice as long on a CPU.
        of_matrix, grad = torch.zeros_like(matrix), grad.mT.contiguous()
        for inverse, product, inner, outer in reversed(steps):
            of_outer = torch.baddbmm(grad, grad, inverse, beta=0, alpha=-1 / 4)
            of_inner = torch.baddbmm(of_outer, of_outer, product, beta=0, alpha=-1)
            of_product = torch.baddbmm(of_outer, inner, of_outer, beta=15, alpha=-1).add(of_inner, alpha=7)
            of_product = torch.baddbmm(of_product, product, of_inner, alpha=-1)
            of_product = torch.baddbmm(of_product, of_inner, product, alpha=-1)
            of_matrix = torch.baddbmm(of_matrix, inverse, of_product)
            grad = torch.baddbmm(grad, outer, grad, beta=13 / 4, alpha=-1 / 4)
            grad = torch.baddbmm(grad, of_product, matrix)
        return of_matrix.mT, grad.mT


def _step(matrix: Tensor, inverse: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Z (13 - P (15 - P (7 - P))) / 4 with P = A Z, without the identity; and P, P (7 - P), P (15 - P (7 - P))."""
    product = matrix @ inverse
    inner = torch.baddbmm(product, product, product, beta=7, alpha=-1)
    outer = torch.baddbmm(product, product, inner, beta=15, alpha=-1)
    return torch.baddbmm(inverse, inverse, outer, beta=13 / 4, alpha=-1 / 4), product, inner, outer
