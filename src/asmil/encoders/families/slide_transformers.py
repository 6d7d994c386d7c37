"""Slide encoders that are transformers over tiles: TITAN, Prov-GigaPath and PRISM, under their authors' names.

Each takes the features of a slide's tiles (tiles, tile_dim) and returns its vector (dim,). Queries are worked on
`QUERIES` at a time, so that memory grows with the tiles and not with their square; dropout is left out.
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from asmil.encoders.slide_cards import SlideEncoderCard
from asmil.errors import EncoderError

QUERIES = 256
"""Tiles that look at all others at once: 12 heads of 20,000 tiles are then 250 MB of scores."""


def cells(level0_xy: Float[Tensor, "tiles 2"], side: float) -> Int[Tensor, "tiles 2"]:
    """The cell of each tile on a grid of tiles: whole sides from (0, 0) to its corner.

    Where a side is no whole number of level-0 pixels, a corner is off by as much as it was rounded, half a pixel.
    """
    return torch.floor((level0_xy.double() + 0.5) / side).long()


class Titan(nn.Module):
    """TITAN's slide embedding: a ViT whose attention falls with the distance of two tiles, and one query that pools.

        scores_hij = q_hi . k_hj / sqrt(d) - m_h |cell_i - cell_j|          m_h: the slopes of ALiBi

    with no distance to the class token. Cells count from the slide's first tile; tiles of one cell are added up, and
    a cell of zeros is background, as the authors have it.

    Source: Ding et al. 2025 (arXiv 2411.19666), ALiBi in two dimensions; slopes of Press et al. 2022 (arXiv
    2108.12409); names and order of the authors' vision_transformer.py as DIAGNijmegen/unicorn_baseline dec3809 has it.
    """

    def __init__(self, card: SlideEncoderCard, *, depth: int = 6, heads: int = 12, pool_heads: int = 8, mlp: int = 4):
        super().__init__()
        dim = card.dim
        self.patch_embed = nn.Sequential(nn.Linear(card.tile_dim, dim), nn.GELU())
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.blocks = nn.ModuleDict({"modules_list": nn.ModuleList([_Block(dim, heads, mlp) for _ in range(depth)])})
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.attn_pool_contrastive = _Pooler(dim, pool_heads)

    def forward(
        self, features: Float[Tensor, "tiles tile_dim"], level0_xy: Float[Tensor, "tiles 2"], side: float
    ) -> Float[Tensor, " dim"]:
        places, own = torch.unique(cells(level0_xy - level0_xy.amin(0), side), dim=0, return_inverse=True)
        grid = features.new_zeros(len(places), features.shape[1]).index_add_(0, own.to(features.device), features)
        there = (grid != 0).any(1)
        at = places.to(features.device, torch.float32)[there]
        x = torch.cat([self.cls_token[0], self.patch_embed(grid[there])])
        for block in self.blocks["modules_list"].children():
            x = block(x, at)
        return self.attn_pool_contrastive(self.norm(x))


class _Block(nn.Module):
    def __init__(self, dim: int, heads: int, mlp: int):
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(dim, eps=1e-6) for _ in range(2))
        self.attn = _DistanceAttention(dim, heads)
        inner = {"fc1": nn.Linear(dim, mlp * dim), "fc2": nn.Linear(mlp * dim, dim)}
        self.mlp = nn.ModuleDict(inner)

    def forward(self, x: Tensor, places: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x), places)
        return x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))


class _DistanceAttention(nn.Module):
    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x: Float[Tensor, "tokens dim"], places: Float[Tensor, "tiles 2"]) -> Tensor:
        q, k, v = self.qkv(x).unflatten(1, (3, self.heads, -1)).permute(1, 2, 0, 3)  # heads, tokens, d
        slopes = torch.tensor(alibi_slopes(self.heads), device=x.device).view(-1, 1, 1)
        found = []
        for start in range(0, len(x), QUERIES):
            rows = slice(start, start + QUERIES)
            bias = F.pad(_distances(places, rows), (1, 0)) * -slopes  # the class token is no place
            found.append(F.scaled_dot_product_attention(q[:, rows], k, v, attn_mask=bias.to(q.dtype)))
        return self.proj(torch.cat(found, 1).transpose(0, 1).flatten(1))


def _distances(places: Float[Tensor, "tiles 2"], rows: slice) -> Float[Tensor, "rows tiles"]:
    """Of some tokens, the class token (which has none) being the first of all, to every tile."""
    first = rows.start == 0
    some = places[0 if first else rows.start - 1 : rows.stop - 1]
    found = torch.cdist(some, places, compute_mode="donot_use_mm_for_euclid_dist")
    return F.pad(found, (0, 0, 1, 0)) if first else found


def alibi_slopes(heads: int) -> list[float]:
    """How steeply attention falls with distance, of each head: 2^(-8/n) and its powers for n heads, a power of two.

    For other numbers those of the next lower power, then every other one of twice that. Source: Press et al. 2022.
    """
    power = 2 ** int(math.log2(heads))
    plain = [2 ** (-8 * (i + 1) / power) for i in range(power)]
    return plain + [2 ** (-4 * (i + 1) / power) for i in range(0, 2 * power, 2)][: heads - power]


class _Pooler(nn.Module):
    """One learned query that looks at all tokens."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.query = nn.Parameter(torch.zeros(1, dim))
        self.attn = nn.MultiheadAttention(dim, heads)
        self.ln_q, self.ln_k = nn.LayerNorm(dim), nn.LayerNorm(dim)

    def forward(self, x: Float[Tensor, "tokens dim"]) -> Float[Tensor, " dim"]:
        x = self.ln_k(x)
        return self.attn(self.ln_q(self.query), x, x, need_weights=False)[0][0]


class GigaPath(nn.Module):
    """Prov-GigaPath's slide embedding: the class token of LongNet, whose dilated attention `_Dilated` describes.

    Source: Xu et al. 2024 (doi 10.1038/s41586-024-07441-w); Ding et al. 2023 (LongNet, arXiv 2307.02486);
    prov-gigapath/prov-gigapath 09d8e87: gigapath/slide_encoder.py without `global_pool`, as its README loads it. Beyond
    185,363 tiles their code puts what a segment of that length found a few tokens too far; here it stays in place.

    Raises:
        EncoderError: a tile lies beyond the authors' grid of `grid` cells.
    """

    def __init__(
        self,
        card: SlideEncoderCard,
        *,
        depth: int = 12,
        heads: int = 16,
        mlp: int = 4,
        grid: int = 1000,
        segments: tuple[int, ...] = (1024, 5792, 32768, 185363, 1048576),
        ratios: tuple[int, ...] = (1, 2, 4, 8, 16),
    ):
        super().__init__()
        dim, self.grid = card.dim, grid
        self.patch_embed = nn.ModuleDict({"proj": nn.Linear(card.tile_dim, dim)})
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        branches = tuple(zip(segments, ratios, strict=True))
        layers = nn.ModuleList([_LongLayer(dim, heads, mlp, branches=branches) for _ in range(depth)])
        self.encoder = nn.ModuleDict({"layers": layers, "layer_norm": nn.LayerNorm(dim)})
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(
        self, features: Float[Tensor, "tiles tile_dim"], level0_xy: Float[Tensor, "tiles 2"], side: float
    ) -> Float[Tensor, " dim"]:
        places = cells(level0_xy, side)
        if places.min() < 0 or places.max() >= self.grid:
            found = f"a tile in row or column {int(places.max())} of tiles"
            raise EncoderError(f"the slide is larger than the authors' grid of {self.grid} tiles a side", found=found)
        tiles = self.patch_embed["proj"](features)
        x = torch.cat([self.cls_token[0], tiles + sine_places(places, tiles.shape[1]).to(tiles)])
        for layer in self.encoder["layers"].children():
            x = layer(x)
        return self.norm(self.encoder["layer_norm"](x[0]))


def sine_places(places: Int[Tensor, "tiles 2"], dim: int) -> Float[Tensor, "tiles dim"]:
    """Sines, then cosines, of a tile's y, then the same of its x: a quarter of `dim` each, wavelengths up to 10,000.

    Source: MAE's table of positions (He et al. 2022, arXiv 2111.06377) as the authors look it up: x is the row.
    """
    quarter = dim // 4
    waves = 10000.0 ** -(torch.arange(quarter, dtype=torch.float64, device=places.device) / quarter)
    angles = places.double().unsqueeze(2) * waves  # tiles, (x, y), quarter
    return torch.cat([part for one in (angles[:, 1], angles[:, 0]) for part in (one.sin(), one.cos())], 1)


class _LongLayer(nn.Module):
    def __init__(self, dim: int, heads: int, mlp: int, *, branches: tuple[tuple[int, int], ...]):
        super().__init__()
        self.self_attn = _Dilated(dim, heads, branches)
        self.self_attn_layer_norm, self.final_layer_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        inner = {"fc1": nn.Linear(dim, mlp * dim), "fc2": nn.Linear(mlp * dim, dim)}
        self.ffn = nn.ModuleDict(inner | {"ffn_layernorm": nn.LayerNorm(mlp * dim)})

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.self_attn_layer_norm(x))
        inner = F.gelu(self.ffn["fc1"](self.final_layer_norm(x)).float()).to(x.dtype)
        return x + self.ffn["fc2"](self.ffn["ffn_layernorm"](inner))


class _Dilated(nn.Module):
    """Dilated attention (Ding et al. 2023, eqs. 8 to 14): branches of long segments that look at fewer tokens.

    A branch (segment, ratio) cuts the tokens into segments. Of each, a head of group g (heads in order, `ratio` groups)
    takes the tokens g, g + ratio, g + 2 ratio ... Branches are summed by the shares of their softmax's denominators.
    Segments are filled up with zeros, which are looked at like tokens: so the authors' code does.
    """

    def __init__(self, dim: int, heads: int, branches: tuple[tuple[int, int], ...]):
        super().__init__()
        self.heads, self.branches = heads, branches
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(dim, dim) for _ in range(4))
        self.inner_attn_ln = nn.LayerNorm(dim)

    def forward(self, x: Float[Tensor, "tokens dim"]) -> Float[Tensor, "tokens dim"]:
        projected = (part(x).unflatten(1, (self.heads, -1)) for part in (self.q_proj, self.k_proj, self.v_proj))
        q, k, v = (part.transpose(0, 1) for part in projected)  # heads, tokens, d
        total = torch.full(q.shape[:2], -torch.inf, device=x.device)
        mixed = torch.zeros_like(q)
        for segment, ratio in self.branches:
            for part, tokens in _parts(len(x), segment, ratio, self.heads):
                length = math.ceil(min(segment, len(x)) / ratio)
                query = q[part, tokens]
                keys, values = (F.pad(one[part, tokens], (0, 0, 0, length - query.shape[1])) for one in (k, v))
                out, size = _attend(query, keys, values)
                before = total[part, tokens]
                after = torch.logaddexp(before, size)
                old, new = ((one - after).exp().unsqueeze(2).to(out.dtype) for one in (before, size))
                mixed[part, tokens] = mixed[part, tokens] * old + out * new
                total[part, tokens] = after
        return self.out_proj(self.inner_attn_ln(mixed.transpose(0, 1).flatten(1)))


def _parts(tokens: int, segment: int, ratio: int, heads: int) -> Iterator[tuple[slice, slice]]:
    """Heads and tokens that look at each other, of every segment of a branch."""
    width = heads // ratio
    for start in range(0, tokens, segment):
        for group in range(min(ratio, tokens - start)):
            yield slice(group * width, (group + 1) * width), slice(start + group, min(start + segment, tokens), ratio)


def _attend(q: Tensor, k: Tensor, v: Tensor) -> tuple[Float[Tensor, "heads queries d"], Float[Tensor, "heads queries"]]:
    """Attention, and the logarithm of each softmax's denominator."""
    outs, sizes = [], []
    for some in q.split(QUERIES, 1):
        scores = (some @ k.mT).float() / math.sqrt(q.shape[2])
        outs.append(scores.softmax(2).to(v.dtype) @ v)
        sizes.append(scores.logsumexp(2))
    return torch.cat(outs, 1), torch.cat(sizes, 1)


class Prism(nn.Module):
    """PRISM's image embedding: a Perceiver whose first latent becomes the slide's vector.

    In each of `depth` rounds the latents look at all tiles by one head, then at each other in `blocks` blocks. Of the
    looks at tiles the first is one of its own, the later ones share their weights; all rounds share their blocks.
    Source: Shaikovski et al. 2024 (arXiv 2405.10254); Jaegle et al. 2021 (Perceiver, arXiv 2103.03206); names and order
    of the authors' perceiver.py as DIAGNijmegen/unicorn_baseline dec3809 has it.
    """

    def __init__(self, card: SlideEncoderCard, *, latents: int = 513, heads: int = 8, blocks: int = 6, depth: int = 8):
        super().__init__()
        dim, self.depth = card.dim, depth
        first, later = _Round(dim, card.tile_dim), _Round(dim, card.tile_dim)
        first.tf = nn.Sequential(*(_Among(dim, heads) for _ in range(blocks)))
        self.perceiver = nn.Module()
        self.perceiver.latents = nn.Parameter(torch.zeros(latents, dim))
        self.perceiver.layers = nn.ModuleList([first, later])
        self.cls_norm = nn.LayerNorm(dim)

    def forward(self, features: Float[Tensor, "tiles tile_dim"]) -> Float[Tensor, " dim"]:
        x = self.perceiver.get_parameter("latents")
        among, seen = self.perceiver.get_submodule("layers.0.tf"), features
        for number in range(self.depth):
            look = cast(_Round, self.perceiver.get_submodule(f"layers.{min(number, 1)}"))
            seen = look(features) if number < 2 else seen
            x = among(look.xattn(x, seen))
        return self.cls_norm(x[0])

    def renamed(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights that rounds share, under the name of the first that has them: a file may keep them under any."""
        named = {}
        for name, value in state.items():
            name = re.sub(r"layers\.\d+\.tf\.", "layers.0.tf.", name)
            named[re.sub(r"layers\.[1-9]\d*\.xattn\.", "layers.1.xattn.", name)] = value
        return named


class _Round(nn.Module):
    """Latents look at tiles, whose keys and values are made once."""

    def __init__(self, dim: int, tile_dim: int):
        super().__init__()
        self.xattn = _Looking(dim, tile_dim)

    def forward(self, features: Float[Tensor, "tiles tile_dim"]) -> Float[Tensor, "tiles 2*dim"]:
        return self.xattn.xattn.to_kv(features)


class _Looking(nn.Module):
    def __init__(self, dim: int, tile_dim: int):
        super().__init__()
        self.xattn, self.ff = _Look(dim, tile_dim), _Gelu(dim)

    def forward(self, x: Float[Tensor, "latents dim"], seen: Float[Tensor, "tiles 2*dim"]) -> Tensor:
        x = x + self.xattn(x, seen)
        return x + self.ff(x)


class _Look(nn.Module):
    """One head as wide as a latent."""

    def __init__(self, dim: int, tile_dim: int):
        super().__init__()
        self.x_norm = nn.LayerNorm(dim)
        self.to_q, self.to_out = nn.Linear(dim, dim, bias=False), nn.Linear(dim, dim, bias=False)
        self.to_kv = nn.Linear(tile_dim, 2 * dim, bias=False)

    def forward(self, x: Float[Tensor, "latents dim"], seen: Float[Tensor, "tiles 2*dim"]) -> Tensor:
        keys, values = seen.chunk(2, 1)
        query = self.to_q(self.x_norm(x))
        return self.to_out(F.scaled_dot_product_attention(query[None], keys[None], values[None])[0])


class _Among(nn.Module):
    """Latents look at each other."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.mhsa, self.ff = _Attention(dim, heads), _Gelu(dim)

    def forward(self, x: Float[Tensor, "latents dim"]) -> Tensor:
        x = x + self.mhsa(x)
        return x + self.ff(x)


class _Attention(nn.Module):
    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.norm, self.mha = nn.LayerNorm(dim), nn.MultiheadAttention(dim, heads, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        return self.mha(x, x, x, need_weights=False)[0]


class _Gelu(nn.Module):
    """A feed-forward layer, half of whose values open and close the other half (GEGLU)."""

    def __init__(self, dim: int):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.net = nn.ModuleList([nn.Linear(dim, 2 * dim), nn.Identity(), nn.Linear(dim, dim)])

    def forward(self, x: Tensor) -> Tensor:
        values, gates = self.net[0](self.norm(x)).chunk(2, -1)
        return self.net[2](values * F.gelu(gates))
