"""The stem of CTransPath: two strided convolutions instead of one cut into patches (Wang et al. 2022)."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn


class ConvStem(nn.Module):
    """Embeds squares of 4 x 4 pixels; takes the place of timm's patch embedding in a Swin Transformer."""

    def __init__(
        self,
        *,
        img_size: int | tuple[int, int],
        embed_dim: int,
        norm_layer: Callable[[int], nn.Module] | None = None,
        **others: Any,
    ):
        super().__init__()
        sides = (img_size, img_size) if isinstance(img_size, int) else img_size
        self.grid_size = (sides[0] // 4, sides[1] // 4)
        self.num_patches = self.grid_size[0] * self.grid_size[1]
        widths = (3, embed_dim // 8, embed_dim // 4)
        halvings = [
            (nn.Conv2d(n_in, n_out, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU(inplace=True))
            for n_in, n_out in pairwise(widths)
        ]
        self.proj = nn.Sequential(
            *(part for halving in halvings for part in halving), nn.Conv2d(widths[2], embed_dim, 1)
        )
        self.norm = norm_layer(embed_dim) if norm_layer else nn.Identity()

    def forward(self, pixels: Tensor) -> Tensor:
        """Embed (tiles, 3, height, width) as (tiles, height / 4, width / 4, embed_dim)."""
        embedded: Tensor = self.norm(self.proj(pixels).permute(0, 2, 3, 1))
        return embedded.to(memory_format=torch.contiguous_format)
