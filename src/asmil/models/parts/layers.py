"""Layers that models share: projection, attention over the tiles of packed bags, cross-attention of a few tokens."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from asmil import draws
from asmil.attention import Packed
from asmil.errors import ConfigError, FeatureError
from asmil.models.parts import chunks

# What every MIL model returns.


@dataclass(frozen=True)
class MILOutput:
    """The complete result of a model on a `BagBatch`; rows of packed tensors are the batch's tiles.

    `logits` (bags, classes). `scores` (tiles, rows): attention before normalisation, one column per attention
    row (token x head, class ...); None for models without attention. `attention` (tiles,): the slide's map,
    sums to 1 over the tiles of each bag. `embedding` (bags, dim): what the classifier sees. `losses`: a
    model's own extra terms by name, (bags,) each and already weighted; their means over the bags are added to the
    task loss. `score_layout` and `score_order` only where scores are normalised over other segments than the
    batch's bags (the random pseudo-bags of DTFD-MIL): the segments lie end to end in scores[order].
    """

    logits: Float[Tensor, "bags classes"]
    attention: Float[Tensor, " tiles"]
    embedding: Float[Tensor, "bags dim"]
    scores: Float[Tensor, "tiles rows"] | None = None
    losses: dict[str, Tensor] = field(default_factory=dict)
    score_layout: Packed | None = None
    score_order: Int[Tensor, " tiles"] | None = None

    def segments(self, layout: Packed) -> tuple[Tensor | slice, Packed]:
        """What to index scores by, and how they are then packed: the order and segments above, or the bags'."""
        order = slice(None) if self.score_order is None else self.score_order
        return order, layout if self.score_layout is None else self.score_layout


def default_dim(in_dim: int) -> int:
    """Width of the projected features: 64 up to 320 input features, 128 to 384, 256 to 512, 384 to 768, else 512.

    Source: the tables of the ACMIL, AEM and ASMIL code (ViT-S 128, ResNet-18 256, CLIP-L 384, UNI 512); 64 is ours, for
    embeddings without weights (docs/log.md).
    """
    for largest_in_dim, dim in ((320, 64), (384, 128), (512, 256), (768, 384)):
        if in_dim <= largest_in_dim:
            return dim
    return 512


def require(condition: bool, what: str, *, found: object, fix: str) -> None:
    """Raise a `ConfigError` about a model's option unless `condition` holds."""
    if not condition:
        raise ConfigError(what, found=found, fix=fix)


def require_heads(dim: int, heads: int) -> None:
    """Raise a `ConfigError` unless the width can be cut into heads."""
    require(
        heads > 0 and dim % heads == 0,
        "the width of the model must be a multiple of its heads",
        found=f"dim={dim}, heads={heads}",
        fix="choose dim as a multiple of heads",
    )


def xavier_normal(module: nn.Module) -> None:
    """Start a linear layer with xavier_normal weights and no bias, for `nn.Module.apply`; others stay as they are."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class Dropout(nn.Module):
    """Sets each value to 0 with probability p in training, and scales the others; its draws are the model's own."""

    def __init__(self, p: float):
        super().__init__()
        require(0 <= p < 1, "dropout is a share in [0, 1)", found=p, fix="0.25 is usual, 0 is none")
        self.p = p

    def forward(self, values: Tensor) -> Tensor:
        return draws.dropout(values, self.p) if self.training else values

    @property
    def share(self) -> float:
        """The share of values dropped at present."""
        return self.p if self.training else 0.0

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Projection(nn.Module):
    """x = ReLU(W f), then dropout: the first layer of every model (tiles, in_dim) -> (tiles, dim).

    Features may come in any float type; they are cast to the weight's, except under autocast, which casts
    itself.

    Raises:
        FeatureError: the features are not `in_dim` wide.
    """

    def __init__(self, in_dim: int, dim: int, *, bias: bool, dropout: float = 0.0):
        super().__init__()
        require(
            in_dim > 0 and dim > 0,
            "a model needs positive widths",
            found=(in_dim, dim),
            fix="check in_dim and dim",
        )
        self.linear = nn.Linear(in_dim, dim, bias=bias)
        self.dropout = Dropout(dropout)

    def forward(self, features: Float[Tensor, "tiles in_dim"]) -> Float[Tensor, "tiles dim"]:
        self.check(features)
        weight, bias = self.linear.weight, self.linear.bias
        if chunks.pays(features, weight):
            return chunks.Project.apply(features, weight, bias, self.dropout.share)
        if not torch.is_autocast_enabled(features.device.type) or features.dtype == torch.float64:
            features = features.to(weight.dtype)
        return self.dropout(F.relu(self.linear(features)))

    def check(self, features: Float[Tensor, "tiles in_dim"]) -> None:
        """Raise a `FeatureError` unless the features fit."""
        require_width(features, self.linear.weight.shape[1])


def require_width(features: Float[Tensor, "tiles in_dim"], in_dim: int) -> None:
    """Raise a `FeatureError` unless features are as wide as a model was made for."""
    if features.shape[-1] != in_dim:
        raise FeatureError(
            "the features do not fit the model",
            found=f"{features.shape[-1]} per tile; the model was made with in_dim={in_dim}",
            fix="use features of the encoder the model was trained with, or make the model for these",
        )


class GatedAttention(nn.Module):
    """Scores of tiles, (tiles, dim) -> (tiles, rows): W (tanh(V x) * sigmoid(U x)), all with biases.

    `dropout` acts on both factors. Source: Ilse et al. 2018 (arXiv 1802.04712), eq. 9 before its softmax; the
    dropout is CLAM's.

    Raises:
        ConfigError: no hidden units.
    """

    def __init__(self, dim: int, hidden: int, *, rows: int = 1, dropout: float = 0.0):
        super().__init__()
        require(hidden > 0, "gated attention needs hidden units", found=hidden, fix="128 is usual")
        self.tanh, self.gate = nn.Linear(dim, hidden), nn.Linear(dim, hidden)
        self.score = nn.Linear(hidden, rows)
        self.dropout = Dropout(dropout)

    def forward(self, tiles: Float[Tensor, "tiles dim"]) -> Float[Tensor, "tiles rows"]:
        content, gate = torch.tanh(self.tanh(tiles)), torch.sigmoid(self.gate(tiles))
        return self.score(self.dropout(content) * self.dropout(gate))


def classifier(dim: int, n_classes: int) -> nn.Linear:
    """The last layer of every model."""
    require(n_classes > 0, "a model needs classes", found=n_classes, fix="check n_classes")
    return nn.Linear(dim, n_classes)


def pool(
    weights: Float[Tensor, "tiles rows"], values: Float[Tensor, "tiles dim"], layout: Packed
) -> Float[Tensor, "bags rows dim"]:
    """Weighted sums of the tiles of each bag, without a (tiles x bags) matrix: one product of padded bags, or one each.

    Padded where bags are small or alike: copying the values then costs less than an operation for each bag.
    """
    if isinstance(layout, Watched):
        return layout.pool(weights, values)
    weights = weights.to(values.dtype)
    if len(layout) == 1:
        return (weights.T @ values).unsqueeze(0)
    if layout.padding_pays and (values.is_cuda or len(values) <= SMALL):
        return layout.pad(weights).mT @ layout.pad(values)
    pairs = zip(layout.split(weights), layout.split(values), strict=True)
    return torch.stack([w.T @ v for w, v in pairs])


class Watched(Packed):
    """A layout that keeps in `calls` the weights and values that `pool` is given with it.

    With `given` (bags, rows, dim), that is what is pooled, whatever the tiles are: for `evidence` alone.
    """

    def __init__(self, lengths: Sequence[int], *, device: torch.device, given: Tensor | None = None):
        super().__init__(lengths, device=device)
        self.given, self.calls = given, list[tuple[Tensor, Tensor]]()

    def pool(self, weights: Float[Tensor, "tiles rows"], values: Float[Tensor, "tiles dim"]) -> Tensor:
        """What `pool` returns."""
        self.calls.append((weights, values))
        return pool(weights, values, Packed(self.lengths, device=self.device)) if self.given is None else self.given


SMALL = 4096
"""Tiles whose padded copy costs a CPU less than the operations of a loop over bags."""


class StackedLinear(nn.Module):
    """`sets` linear maps (dim -> dim) in one tensor: token t uses map t, or every token the only one.

    Initialised like `nn.Linear`, or as `zero`.
    """

    def __init__(self, dim: int, *, sets: int, zero: bool = False):
        super().__init__()
        self.zero = zero
        self.weight = nn.Parameter(torch.empty(sets, dim, dim))
        self.bias = nn.Parameter(torch.empty(sets, dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights, as an anchor with `init="independent"` does."""
        bound = 0 if self.zero else 1 / math.sqrt(self.weight.shape[-1])
        for parameter in (self.weight, self.bias):
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, tokens: Float[Tensor, "... tokens dim"]) -> Float[Tensor, "... tokens dim"]:
        if self.weight.shape[0] == 1:
            return F.linear(tokens, self.weight.squeeze(0), self.bias.squeeze(0))
        return _each(self.weight, tokens) + self.bias


def _each(weight: Float[Tensor, "*sets out dim"], vectors: Float[Tensor, "... dim"]) -> Float[Tensor, "... out"]:
    """W_s v_s for every set: one batched product whose gradient for W comes in W's own layout, without a copy."""
    sets = weight.shape[:-2]
    columns = vectors.reshape(-1, *sets, vectors.shape[-1]).movedim(0, -1)  # (*sets, dim, vectors)
    return (weight @ columns).movedim(-1, 0).reshape(*vectors.shape[:-1], weight.shape[-2])


class CrossAttention(nn.Module):
    """A few tokens look at many inputs: multi-head attention, output projection, dropout, LayerNorm.

    The usual q k^T and p v with k = W_k x + b_k and v = W_v x + b_v, in another order of the same products,
    so that no (inputs x dim x dim) product is left:

        scores_th = x (W_k,h^T q_th) / sqrt(d) + q_th . b_k,h / sqrt(d)
        out_th    = W_v,h (p_th^T x) + b_v,h        as p sums to 1

    Columns of scores run over tokens, then heads. Under softmax the key bias cannot change the attention (it
    shifts a whole row) and so gets no gradient but rounding; it is kept because the anchor's NSF depends on
    the level.

    `scale` multiplies the scores; it is kept with the weights, as it may change while they are trained. With `even` the
    keys start at zero, so that attention starts as a plain mean and is what is learned, not what was drawn.

    Source: Vaswani et al. 2017, eq. 1; ASMIL (arXiv 2603.06658), section on the online model.
    """

    scale: Tensor

    def __init__(
        self,
        dim: int,
        *,
        tokens: int,
        heads: int,
        sets: int,
        token_std: float,
        dropout: float,
        scale: float = 1.0,
        even: bool = False,
    ):
        super().__init__()
        require_heads(dim, heads)
        self.heads, self.head_dim = heads, dim // heads
        self.token_std, self.even = token_std, even
        # on the CPU: of models that are made without memory (meta) the weights are read, and older ones lack it
        self.register_buffer("scale", torch.tensor(float(scale), device="cpu"))
        self.tokens = nn.Parameter(torch.empty(tokens, dim))
        self.reset_parameters()
        self.query = StackedLinear(dim, sets=sets)
        self.key = StackedLinear(dim, sets=sets, zero=even)
        self.value = StackedLinear(dim, sets=sets)
        self.out = StackedLinear(dim, sets=sets)
        self.dropout = Dropout(dropout)
        self.norm_weight = nn.Parameter(torch.ones(sets, dim))
        self.norm_bias = nn.Parameter(torch.zeros(sets, dim))

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw new tokens; the linear maps draw their own."""
        self.tokens.normal_().mul_(self.token_std)

    def scores(self, inputs: Float[Tensor, "... inputs dim"]) -> Float[Tensor, "... inputs rows"]:
        """Attention before normalisation, rows = tokens x heads."""
        return F.linear(inputs, *self.keys())

    def keys(self) -> tuple[Float[Tensor, "rows dim"], Float[Tensor, " rows"]]:
        """What an input is multiplied by to get its scores, and what is added: the queries folded into the keys."""
        query = self._split(self.query(self.tokens)) * self.scale / math.sqrt(self.head_dim)  # t, h, d
        weight = self._split_weight(self.key)
        if len(weight) == 1:
            keys = (query.transpose(0, 1) @ weight.squeeze(0)).transpose(0, 1)
        else:
            keys = (query.unsqueeze(2) @ weight).squeeze(2)
        return keys.flatten(0, 1), (query * self._split(self.key.bias)).sum(-1).flatten()

    def read(self, pooled: Float[Tensor, "bags rows dim"]) -> Float[Tensor, "bags tokens dim"]:
        """The tokens' outputs from what each row pooled of the inputs."""
        pooled = pooled.unflatten(1, (-1, self.heads))  # (bags, tokens, heads, dim)
        weight = self._split_weight(self.value)
        if len(weight) == 1:
            columns = pooled.flatten(0, 1).transpose(0, 1)  # one product a head, for all bags and tokens
            values = (columns @ weight.squeeze(0).mT).transpose(0, 1).unflatten(0, pooled.shape[:2])
        else:
            values = _each(weight, pooled)
        values = values.flatten(2) + self.value.bias
        out = self.dropout(self.out(values))
        if len(weight) == 1:
            return F.layer_norm(out, out.shape[-1:], self.norm_weight.squeeze(0), self.norm_bias.squeeze(0), eps=1e-6)
        return F.layer_norm(out, out.shape[-1:], eps=1e-6) * self.norm_weight + self.norm_bias

    def _load_from_state_dict(self, state: dict[str, Tensor], prefix: str, *args: object) -> None:
        state.setdefault(f"{prefix}scale", self.scale)  # weights of before it was kept say it by their options alone
        super()._load_from_state_dict(state, prefix, *args)

    def _split(self, vectors: Tensor) -> Tensor:
        return vectors.unflatten(-1, (self.heads, self.head_dim))

    def _split_weight(self, linear: StackedLinear) -> Tensor:
        return linear.weight.unflatten(1, (self.heads, self.head_dim))  # (sets, heads, head_dim, dim)

    def extra_repr(self) -> str:
        tokens, dim = self.tokens.shape
        return f"tokens={tokens}, dim={dim}, heads={self.heads}, sets={self.query.weight.shape[0]}"
