"""Visual towers that learned from texts: CONCH and v1.5 (Lu et al. 2024), whose tokens a query pools, and KEEP."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asmil.encoders.cards import EncoderCard
from asmil.encoders.families import timm

HEADS = 8


def build(card: EncoderCard) -> nn.Module:
    """The visual tower of CONCH without weights."""
    return ConchVision(card, PoolerWithBiases)


def build_v1_5(card: EncoderCard) -> nn.Module:
    """The visual tower of CONCH v1.5 without weights."""
    return ConchVision(card, PoolerWithoutBiases)


class ConchVision(nn.Module):
    """Trunk, attention pooling and norm; neither the projection to the space of captions nor a length of one."""

    def __init__(self, card: EncoderCard, pooler: type[nn.Module]):
        super().__init__()
        self.trunk: Any = timm.build(replace(card, tokens="cls"))
        self.attn_pool_contrast = pooler(dim=card.dim, context_dim=self.trunk.embed_dim)
        self.ln_contrast = nn.LayerNorm(card.dim)

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode (tiles, 3, height, width) as (tiles, dim)."""
        features: Tensor = self.ln_contrast(self.attn_pool_contrast(self.trunk(pixels)))
        return features

    def adapt(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights with their positions resampled to the grid of the trunk, as the authors do on each call.

        v1.5 was trained at 224 px and is used at 448: bicubic, the sides scaled by (28 + 0.1) / 14 as DINO does.
        """
        state, name = dict(state), "trunk.pos_embed"
        side = math.isqrt(self.trunk.pos_embed.shape[1] - 1)
        if name in state and state[name].shape[1] != 1 + side**2:
            token, patches = state[name][:, :1], state[name][:, 1:]
            old = math.isqrt(patches.shape[1])
            grid = patches.float().reshape(1, old, old, -1).permute(0, 3, 1, 2)
            grid = F.interpolate(grid, scale_factor=(side + 0.1) / old, mode="bicubic")
            state[name] = torch.cat([token, grid.flatten(2).transpose(1, 2)], dim=1)
        return state


def build_keep(card: EncoderCard) -> nn.Module:
    """The visual tower of KEEP without weights."""
    return KeepVision(card)


class KeepVision(nn.Module):
    """KEEP (Zhou et al. 2026): a ViT, two layers on its class token, and a length of one."""

    def __init__(self, card: EncoderCard):
        super().__init__()
        self.visual = timm.build(replace(card, tokens="pooled"))
        first = nn.Linear(cast(int, self.visual.embed_dim), card.dim)
        self.visual_head = nn.Sequential(first, nn.GELU(), nn.Linear(card.dim, card.dim))

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode (tiles, 3, height, width) as (tiles, dim)."""
        return F.normalize(self.visual_head(self.visual(pixels)), dim=-1)

    def adapt(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights with the scales of layers under timm's name: transformers saved them as `weight`."""
        scales = (".ls1.weight", ".ls2.weight")
        return {name[:-6] + "gamma" if name.endswith(scales) else name: value for name, value in state.items()}


class _Pooler(nn.Module):
    def __init__(self, *, dim: int, context_dim: int):
        super().__init__()
        self.query = nn.Parameter(torch.zeros(1, dim))
        self.ln_q, self.ln_k = nn.LayerNorm(dim), nn.LayerNorm(context_dim)


class PoolerWithBiases(_Pooler):
    """CONCH's pooling: torch's multi-head attention."""

    def __init__(self, *, dim: int, context_dim: int):
        super().__init__(dim=dim, context_dim=context_dim)
        self.attn = nn.MultiheadAttention(dim, HEADS, kdim=context_dim, vdim=context_dim, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        """Pool (tiles, tokens, context_dim) to (tiles, dim)."""
        keys, query = self.ln_k(tokens), self.ln_q(self.query).expand(len(tokens), -1, -1)
        out: Tensor = self.attn(query, keys, keys, need_weights=False)[0][:, 0]
        return out


class PoolerWithoutBiases(_Pooler):
    """CONCH v1.5's pooling: keys and values from one matrix, no biases."""

    def __init__(self, *, dim: int, context_dim: int):
        super().__init__(dim=dim, context_dim=context_dim)
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_kv = nn.Linear(context_dim, 2 * dim, bias=False)
        self.to_out = nn.Linear(dim, dim, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Pool (tiles, tokens, context_dim) to (tiles, dim)."""
        query = self.to_q(self.ln_q(self.query)).expand(len(tokens), -1, -1)
        parts = (query, *self.to_kv(self.ln_k(tokens)).chunk(2, dim=-1))
        out = F.scaled_dot_product_attention(*(p.unflatten(-1, (HEADS, -1)).transpose(1, 2) for p in parts))
        pooled: Tensor = self.to_out(out.transpose(1, 2).flatten(2)[:, 0])
        return pooled
