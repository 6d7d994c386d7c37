"""Layers that models share: projection, pooling of packed bags, cross-attention of a few tokens."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from asmil.bags import BagBatch
from asmil.errors import ConfigError, FeatureError
from asmil.models import _chunks


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
        require(0 <= dropout < 1, "dropout is a share in [0, 1)", found=dropout, fix="0.25 is usual, 0 is none")
        self.linear = nn.Linear(in_dim, dim, bias=bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Float[Tensor, "tiles in_dim"]) -> Float[Tensor, "tiles dim"]:
        linear, weight = self.linear, self.linear.weight
        self.check(features)
        if _chunks.pays(features, weight):
            return _chunks.Project.apply(features, weight, linear.bias, self.drops)
        if not torch.is_autocast_enabled(features.device.type) or features.dtype == torch.float64:
            features = features.to(weight.dtype)
        return self.dropout(F.relu(linear(features)))

    @property
    def drops(self) -> float:
        """The share of values dropped at present."""
        return self.dropout.p if self.training else 0.0

    def check(self, features: Float[Tensor, "tiles in_dim"]) -> None:
        """Raise a `FeatureError` unless the features fit."""
        weight = self.linear.weight
        if features.shape[-1] != weight.shape[1]:
            raise FeatureError(
                "the features do not fit the model",
                found=f"{features.shape[-1]} per tile; the model was made with in_dim={weight.shape[1]}",
                fix="use features of the encoder the model was trained with, or make the model for these",
            )


def look(
    projection: Projection, keys: tuple[Tensor, Tensor], batch: BagBatch
) -> tuple[Float[Tensor, "tiles rows"], Callable[[Tensor], Tensor]]:
    """Scores of the tiles, linear in the projected ones, and a function that pools these, once, by weights.

        x = dropout(relu(W f));  scores = x K^T + c;  pooled_b = p_b^T x_b        `keys` are K (rows, dim), c (rows,)

    On a CPU without a tensor of (tiles, dim) but x itself, in which no products are lost to the memory.
    """
    features, weight = batch.features, projection.linear.weight
    if projection.linear.bias is None and _chunks.pays(features, weight):
        projection.check(features)
        tiles, scores, *factors = _chunks.Look.apply(features, weight, *keys, projection.drops, batch.starts)
        once = [factors]  # the gradients of a second pooling would mix with those of the first

        def pooled(weights: Tensor) -> Tensor:
            return _chunks.Pool.apply(weights.to(tiles.dtype), tiles, *once.pop(), batch.starts)

        return scores, pooled
    tiles = projection(features)
    return F.linear(tiles, *keys), lambda weights: pool(weights, tiles, batch)


def look_only(projection: Projection, keys: tuple[Tensor, Tensor], batch: BagBatch) -> Float[Tensor, "tiles rows"]:
    """The scores of `look` alone."""
    pays = _chunks.pays(batch.features, projection.linear.weight) and projection.linear.bias is None
    if torch.is_grad_enabled() or projection.training or not pays:
        return look(projection, keys, batch)[0]
    projection.check(batch.features)
    return _chunks.scores_alone(batch.features, projection.linear.weight, keys=keys[0], level=keys[1])


def classifier(dim: int, n_classes: int) -> nn.Linear:
    """The last layer of every model."""
    require(n_classes > 0, "a model needs classes", found=n_classes, fix="check n_classes")
    return nn.Linear(dim, n_classes)


def attention_weights(
    scores: Float[Tensor, "tiles rows"], batch: BagBatch, *, normalizer: Callable[..., Tensor]
) -> Float[Tensor, "tiles rows"]:
    """Normalise scores over the tiles of each bag: every column sums to 1 in every bag."""
    if len(batch) == 1:
        return normalizer(scores, dim=0)
    return normalizer(scores, offsets=batch.offsets)


def pool(
    weights: Float[Tensor, "tiles rows"], values: Float[Tensor, "tiles dim"], batch: BagBatch
) -> Float[Tensor, "bags rows dim"]:
    """Weighted sums of the tiles of each bag: no (tiles x bags) matrix.

    A device multiplies bags of similar length padded, in one product; else there is one small product per bag.
    """
    weights = weights.to(values.dtype)
    if len(batch) == 1:
        return (weights.T @ values).unsqueeze(0)
    if values.is_cuda and len(batch) * max(batch.lengths) <= 2 * len(values):
        return pool_padded(weights, values, batch)
    pairs = zip(batch.split(weights), batch.split(values), strict=True)
    return torch.stack([w.T @ v for w, v in pairs])


def pool_padded(
    weights: Float[Tensor, "tiles rows"], values: Float[Tensor, "tiles dim"], batch: BagBatch
) -> Float[Tensor, "bags rows dim"]:
    """`pool` in one product of padded bags: no kernel per bag."""
    return batch.pad(weights).mT @ batch.pad(values)


class StackedLinear(nn.Module):
    """`sets` linear maps (dim -> dim) in one tensor: token t uses map t, or every token the only one.

    Initialised like `nn.Linear`.
    """

    def __init__(self, dim: int, *, sets: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(sets, dim, dim))
        self.bias = nn.Parameter(torch.empty(sets, dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights, as an anchor with `init="independent"` does."""
        bound = 1 / math.sqrt(self.weight.shape[-1])
        for parameter in (self.weight, self.bias):
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, tokens: Float[Tensor, "... tokens dim"]) -> Float[Tensor, "... tokens dim"]:
        if self.weight.shape[0] == 1:
            return F.linear(tokens, self.weight[0], self.bias[0])
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

    Source: Vaswani et al. 2017, eq. 1; ASMIL (arXiv 2603.06658), section on the online model.
    """

    def __init__(self, dim: int, *, tokens: int, heads: int, sets: int, token_std: float, dropout: float):
        super().__init__()
        require_heads(dim, heads)
        self.heads, self.head_dim = heads, dim // heads
        self.token_std = token_std
        self.tokens = nn.Parameter(torch.empty(tokens, dim))
        self.reset_parameters()
        self.query = StackedLinear(dim, sets=sets)
        self.key = StackedLinear(dim, sets=sets)
        self.value = StackedLinear(dim, sets=sets)
        self.out = StackedLinear(dim, sets=sets)
        self.dropout = nn.Dropout(dropout)
        self.norm_weight = nn.Parameter(torch.ones(sets, dim))
        self.norm_bias = nn.Parameter(torch.zeros(sets, dim))

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw new tokens; the linear maps draw their own."""
        self.tokens.copy_(torch.randn_like(self.tokens) * self.token_std)

    def scores(self, inputs: Float[Tensor, "... inputs dim"]) -> Float[Tensor, "... inputs rows"]:
        """Attention before normalisation, rows = tokens x heads."""
        return F.linear(inputs, *self.keys())

    def keys(self) -> tuple[Float[Tensor, "rows dim"], Float[Tensor, " rows"]]:
        """What an input is multiplied by to get its scores, and what is added: the queries folded into the keys."""
        query = self._split(self.query(self.tokens)) / math.sqrt(self.head_dim)
        weight = self._split_weight(self.key)
        one, each = "tha,hab->thb", "tha,thab->thb"
        keys = torch.einsum(one, query, weight[0]) if len(weight) == 1 else torch.einsum(each, query, weight)
        return keys.flatten(0, 1), (query * self._split(self.key.bias)).sum(-1).flatten()

    def read(self, pooled: Float[Tensor, "bags rows dim"]) -> Float[Tensor, "bags tokens dim"]:
        """The tokens' outputs from what each row pooled of the inputs."""
        pooled = pooled.unflatten(1, (-1, self.heads))
        weight = self._split_weight(self.value)
        values = torch.einsum("bthd,hvd->bthv", pooled, weight[0]) if len(weight) == 1 else _each(weight, pooled)
        values = values + self._split(self.value.bias)
        out = self.dropout(self.out(values.flatten(2)))
        return F.layer_norm(out, out.shape[-1:], eps=1e-6) * self.norm_weight + self.norm_bias

    def _split(self, vectors: Tensor) -> Tensor:
        return vectors.unflatten(-1, (self.heads, self.head_dim))

    def _split_weight(self, linear: StackedLinear) -> Tensor:
        return linear.weight.unflatten(1, (self.heads, self.head_dim))  # (sets, heads, head_dim, dim)

    def extra_repr(self) -> str:
        tokens, dim = self.tokens.shape
        return f"tokens={tokens}, dim={dim}, heads={self.heads}, sets={self.query.weight.shape[0]}"
