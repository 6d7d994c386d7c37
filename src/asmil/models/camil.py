"""CAMIL: Nystrom attention among all tiles, blended with attention to each tile's neighbours on the slide."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from asmil.attention import NORMALIZERS, softmax
from asmil.bags import BagBatch
from asmil.models.parts.layers import MILOutput, Projection, classifier, default_dim, pool, require
from asmil.models.parts.neighbours import neighbours, pack, similar
from asmil.models.parts.nystrom import NystromAttention, Segments

PAPER = (
    "CAMIL: Context-Aware Multiple Instance Learning for Cancer Detection and Subtyping, ICLR 2024, arXiv 2305.05314"
)
ALIGNED = "The attention of its pooling over the tiles, one row."
NEEDS_PLACES = "camil blends a tile with its neighbours, for which it needs the places of tiles"


class CAMIL(nn.Module):
    """CAMIL of Fourkioti et al. 2024, as their code computes it.

        t = x + Nystrom(x)                                     x = ReLU(W f)
        u_i = sum_j s_ij q_i . k_j / sqrt(dim / 2)             q, k from t; j: the tile and its neighbours
        l_i = softmax_i(u) V x_i                               over the bag
        o_i = 2 w l_i + 2 (1 - w) t_i                          w = sigmoid(-l_i)^2, by element

    then gated attention pooling of o (no biases) and a linear classifier. s_ij = exp(-d_ij), d_ij the distance
    of the encoder's features, a tile's distances to its neighbours divided by their Euclidean norm; s_ii is the
    largest s_ij of the row, and 1 where a tile has no neighbours.

    `scores` are those of the pooling. `landmarks` is dim / 2 unless given (256 at the authors' width of 512),
    `hidden` the width of the pooling's network, `dropout` acts on x. The order of tiles matters to `Nystrom`.

    Deviations: neighbours are the up to 8 tiles around a tile on the grid (theirs: the 7 nearest in a stored
    list); without coordinates each tile has only itself. The projection to x and its dropout are those of our
    other models. One logit per class and cross-entropy, where they put a sigmoid for two classes; their weight
    penalty of 1e-5 on the pooling is left to the optimiser's weight decay.

    Raises:
        ConfigError: an option out of its range.
        UnknownPartError: no attention normaliser of that name.
    """

    def __init__(
        self,
        in_dim: int,
        n_classes: int,
        *,
        dim: int | None = None,
        heads: int = 8,
        landmarks: int | None = None,
        hidden: int = 128,
        dropout: float = 0.25,
        attention_normalizer: str = "softmax",
    ):
        super().__init__()
        require(hidden > 0, "camil needs hidden units", found=hidden, fix="128 is usual")
        dim = default_dim(in_dim) if dim is None else dim
        self.normalizer = NORMALIZERS[attention_normalizer]
        self.projection = Projection(in_dim, dim, bias=True, dropout=dropout)
        self.landmarks = dim // 2 if landmarks is None else landmarks
        self.context = NystromAttention(dim, heads=heads, landmarks=self.landmarks, dropout=0.0)
        self.query = nn.Linear(dim, dim // 2, bias=False)
        self.key = nn.Linear(dim, dim // 2, bias=False)
        self.value = nn.Linear(dim, dim)
        self.tanh = nn.Linear(dim, hidden, bias=False)
        self.gate = nn.Linear(dim, hidden, bias=False)
        self.score = nn.Linear(hidden, 1, bias=False)
        for layer in (self.query, self.key, self.value, self.tanh, self.gate, self.score):
            nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(self.value.bias)
        self.classifier = classifier(dim, n_classes)

    def forward(self, batch: BagBatch) -> MILOutput:
        tiles = self._blend(batch)
        scores = self._score(tiles)
        weights = self.normalizer(scores, batch.layout)
        embedding = pool(weights, tiles, batch.layout).squeeze(1)
        return MILOutput(self.classifier(embedding), weights.squeeze(1), embedding, scores)

    def attention_scores(self, batch: BagBatch) -> Float[Tensor, "tiles rows"]:
        """The scores alone, without what follows them: all that an anchor has to run."""
        return self._score(self._blend(batch))

    def _blend(self, batch: BagBatch) -> Float[Tensor, "tiles dim"]:
        tiles = self.projection(batch.features)
        context = tiles + self._context(tiles, batch)
        query, key = self.query(context), _mix(self.key(context), batch)  # sum_j s q.k = q.(sum_j s k)
        local_scores = (query * key).sum(-1, keepdim=True) / math.sqrt(query.shape[-1])
        local = softmax(local_scores, batch.layout) * self.value(tiles)
        share = torch.sigmoid(-local).square()
        return 2 * share * local + 2 * (1 - share) * context

    def _context(self, tiles: Float[Tensor, "tiles dim"], batch: BagBatch) -> Float[Tensor, "tiles dim"]:
        """Nystrom attention within each bag, bags of similar size at once."""
        groups, bags, parts = similar(batch.lengths), batch.split(tiles), []
        for group in groups:
            lengths = [batch.lengths[bag] for bag in group]
            padded = torch.stack([F.pad(bags[bag], (0, 0, 0, lengths[0] - batch.lengths[bag])) for bag in group])
            parts.append(self.context(padded, Segments.of(lengths, landmarks=self.landmarks, like=self.value.weight)))
        return pack(parts, batch, groups)

    def _score(self, tiles: Float[Tensor, "tiles dim"]) -> Float[Tensor, "tiles rows"]:
        return self.score(torch.tanh(self.tanh(tiles)) * torch.sigmoid(self.gate(tiles)))


def _mix(keys: Float[Tensor, "tiles dim"], batch: BagBatch) -> Float[Tensor, "tiles dim"]:
    """Each tile's key and its neighbours', weighted by how alike the tiles' features are and added up."""
    if batch.level0_xy is None:
        return keys
    index, there = neighbours(batch)
    features = batch.features.to(torch.promote_types(batch.features.dtype, torch.float32))
    columns = index.T.contiguous().unbind()  # one direction at a time: no (tiles x 8 x dim) tensor
    distance = torch.stack([(features - features.index_select(0, column)).norm(dim=1) for column in columns], 1)
    distance = distance / distance.norm(dim=1, keepdim=True).clamp(min=torch.finfo(distance.dtype).tiny)
    weights = torch.exp(-distance) * there
    own = weights.amax(1, keepdim=True)
    mixed = own.where(own > 0, 1.0) * keys
    for column, weight in zip(columns, weights.split(1, dim=1), strict=True):
        mixed = torch.addcmul(mixed, weight, keys.index_select(0, column))
    return mixed


MODEL = CAMIL
