"""Slide encoders that pool tiles by gated attention: CHIEF, FEATHER and MADELEINE, under their authors' names.

The attention is that of Ilse et al. 2018 (arXiv 1802.04712), eq. 9. Each network takes the features of a slide's tiles
(tiles, tile_dim) and returns its vector (dim,); dropout is left out, as nothing is trained here.
"""

from jaxtyping import Float
from torch import Tensor, nn

from asmil.encoders.slide_cards import SlideEncoderCard


class Gated(nn.Module):
    """Scores of tiles, (tiles, dim) -> (tiles, 1): c(tanh(a x) * sigmoid(b x)), each with a bias."""

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.attention_a = nn.Sequential(nn.Linear(dim, hidden), nn.Tanh())
        self.attention_b = nn.Sequential(nn.Linear(dim, hidden), nn.Sigmoid())
        self.attention_c = nn.Linear(hidden, 1)

    def forward(self, tiles: Float[Tensor, "tiles dim"]) -> Float[Tensor, "tiles 1"]:
        return self.attention_c(self.attention_a(tiles) * self.attention_b(tiles))


class Chief(nn.Module):
    """CHIEF's `WSI_feature`: the tiles' own features, weighted by the attention over their projection.

    Source: Wang et al. 2024 (doi 10.1038/s41586-024-07894-z); hms-dbmi/CHIEF 1abed33, models/CHIEF.py. The anatomic
    site, which that network takes too, does not enter this vector.
    """

    def __init__(self, card: SlideEncoderCard, *, width: int = 512, hidden: int = 256):
        super().__init__()
        dropout = nn.Identity()  # of the authors' list, which numbers what follows
        self.attention_net = nn.Sequential(nn.Linear(card.tile_dim, width), nn.ReLU(), dropout, Gated(width, hidden))

    def forward(self, features: Float[Tensor, "tiles tile_dim"]) -> Float[Tensor, " dim"]:
        return self.attention_net(features).softmax(0).T[0] @ features


class Feather(nn.Module):
    """FEATHER's embedding: tiles projected with a ReLU, pooled by gated attention.

    Source: Shao et al. 2025 (arXiv 2506.09022); mahmoodlab/MIL-Lab dfc3c17, src/models/abmil.py.
    """

    def __init__(self, card: SlideEncoderCard, *, hidden: int = 384):
        super().__init__()
        self.patch_embed = nn.Sequential(nn.Linear(card.tile_dim, card.dim), nn.ReLU())
        self.global_attn = Gated(card.dim, hidden)

    def forward(self, features: Float[Tensor, "tiles tile_dim"]) -> Float[Tensor, " dim"]:
        tiles = self.patch_embed(features)
        return self.global_attn(tiles).softmax(0).T[0] @ tiles


class Madeleine(nn.Module):
    """MADELEINE's embedding of an H&E slide: heads of gated attention, each over its share of three layers' output.

    A tile's `width * heads` values are (width, heads), the head last; what the heads pool is projected in that order.
    Source: Jaume et al. 2024 (arXiv 2408.02859); mahmoodlab/MADELEINE 419287d, madeleine/models/Model.py.
    """

    def __init__(self, card: SlideEncoderCard, *, width: int = 512, hidden: int = 512, heads: int = 4):
        super().__init__()
        self.heads = heads
        layers: list[nn.Module] = []
        for inner, outer in ((card.tile_dim, width), (width, width), (width, width * heads)):
            layers += [nn.Linear(inner, outer), nn.LayerNorm(outer), nn.GELU(), nn.Identity()]
        attention = nn.ModuleList([Gated(width, hidden) for _ in range(heads)])
        self.wsi_embedders = nn.ModuleDict({"pre_attn": nn.Sequential(*layers), "attn": attention})
        self.projector = nn.Linear(width * heads, card.dim)

    def forward(self, features: Float[Tensor, "tiles tile_dim"]) -> Float[Tensor, " dim"]:
        tiles = self.wsi_embedders["pre_attn"](features).unflatten(1, (-1, self.heads))
        pooled = tiles.new_empty(tiles.shape[1:])
        for head, score in enumerate(self.wsi_embedders["attn"].children()):
            own = tiles[..., head]
            pooled[:, head] = score(own).softmax(0).T[0] @ own
        return self.projector(pooled.flatten())
