"""ASMIL: trainable tokens attend over the tiles by multi-head attention, a class token over the tokens."""

from functools import partial

from jaxtyping import Float
from torch import Tensor, nn

from asmil.attention import NORMALIZERS, Dense, drop_tokens, softmax
from asmil.bags import BagBatch
from asmil.models.parts.layers import (
    CrossAttention,
    MILOutput,
    Projection,
    classifier,
    default_dim,
    pool,
    require,
)

PAPER = "Attention-Stabilized Multiple Instance Learning for Whole-Slide Imaging, ICLR 2026, arXiv 2603.06658"
ALIGNED = "The attention of every token and head over the tiles."


DEFAULTS_BEFORE = {"token_std": 0.02, "score_scale": 1.0, "first_scale": None, "even_start": False}
"""Of weights that do not say their options: of before 2026-11-29."""


class ASMIL(nn.Module):
    """The online branch of ASMIL; the anchor is attached by `asmil.AttentionStabilizer`.

    x = ReLU(W f); N tokens attend over x (8 heads); in training each token is dropped with `token_drop`,
    never all; a class token attends over the kept ones; a linear classifier reads it. The slide's attention
    is the mean of the tokens' and heads' softmax. `scores` have one column per token and head (token-major).

    `variant`: "shared" has one set of attention weights for all tokens, "per_token" one set each, as the
    authors' code. `token_std` is 1e-6 in their code. `feature_dropout` acts on x; the paper has none, .25 is
    usual in its peers and better on small cohorts (docs/log.md).

    Small lesions are found (docs/log.md) with scores times `score_scale`, keys that start at zero (`even_start`),
    tokens of std 1, and a weight decay of 3 at a learning rate of 1e-3. In training the factor begins at `first_scale`
    (None: as it ends) and reaches `score_scale` after `settling` steps, geometrically: attention that jumps from tile
    to tile at first leaves no mean of the bag to learn by heart before a lesion is found. The paper's start, which
    stays at mean pooling, is `score_scale=1, first_scale=None, even_start=False, token_std=0.02`.

    Raises:
        ConfigError: an option out of its range.
        UnknownPartError: no attention normaliser of that name.
    """

    WEIGHT_DECAY = 3.0

    def __init__(
        self,
        in_dim: int,
        n_classes: int,
        *,
        dim: int | None = None,
        tokens: int = 8,
        heads: int = 8,
        variant: str = "shared",
        token_drop: float = 0.5,
        token_std: float = 1.0,
        score_scale: float = 16.0,
        first_scale: float | None = 256.0,
        settling: int = 600,
        even_start: bool = True,
        dropout: float = 0.1,
        feature_dropout: float = 0.25,
        attention_normalizer: str = "softmax",
    ):
        super().__init__()
        variants = ("shared", "per_token")
        require(
            variant in variants,
            "there is no such variant of asmil",
            found=variant,
            fix=f"use one of {variants}",
        )
        require(tokens > 0, "asmil needs at least one token", found=tokens, fix="8 is the paper's number")
        require(
            0 <= token_drop < 1,
            "token_drop is a probability below 1",
            found=token_drop,
            fix="0.5 is the paper's",
        )
        require(
            0 <= dropout < 1,
            "dropout is a share in [0, 1)",
            found=dropout,
            fix="0.1 is the paper's, 0 is none",
        )
        require(
            score_scale > 0 and (first_scale is None or first_scale > 0) and settling > 0,
            "score_scale and first_scale are positive factors, settling a number of steps",
            found=(score_scale, first_scale, settling),
            fix="1, None are the paper's",
        )
        dim = default_dim(in_dim) if dim is None else dim
        self.token_drop = token_drop
        self.scales, self.settling = (first_scale or score_scale, score_scale), settling
        self.normalizer = NORMALIZERS[attention_normalizer]
        self.projection = Projection(in_dim, dim, bias=False, dropout=feature_dropout)
        attend = partial(CrossAttention, dim, heads=heads, token_std=token_std, dropout=dropout)
        sets = tokens if variant == "per_token" else 1
        self.feat = attend(tokens=tokens, sets=sets, scale=score_scale, even=even_start)
        self.cls = attend(tokens=1, sets=1)
        self.classifier = classifier(dim, n_classes)

    def forward(self, batch: BagBatch) -> MILOutput:
        tiles = self.projection(batch.features)
        scores = self.feat.scores(tiles)
        weights = self.normalizer(scores, batch.layout)
        tokens = self.feat.read(pool(weights, tiles, batch.layout))
        embedding = self._summarise(tokens)
        return MILOutput(self.classifier(embedding), weights.mean(1), embedding, scores)

    def before_step(self, step: int) -> None:
        """Hook of `fit`: the factor of the scores in this step, counted from 0."""
        first, last = self.scales
        if first != last and step <= self.settling:
            self.feat.scale.fill_(last * (first / last) ** (1 - step / self.settling))

    def attention_scores(self, batch: BagBatch) -> Float[Tensor, "tiles rows"]:
        """The scores alone, without what follows them: all that an anchor has to run."""
        return self.feat.scores(self.projection(batch.features))

    def _summarise(self, tokens: Float[Tensor, "bags tokens dim"]) -> Float[Tensor, "bags dim"]:
        """What the class token reads from the kept tokens."""
        keep = drop_tokens(tokens, self.token_drop, training=self.training)
        scores = self.cls.scores(tokens)
        weights = softmax(scores, Dense(1, keep.unsqueeze(-1))).to(tokens.dtype)
        return self.cls.read(weights.mT @ tokens).squeeze(1)


MODEL = ASMIL
