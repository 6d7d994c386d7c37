"""Phikon-v2: ViT-L/16 trained by DINOv2 on 58,000 public slides (Filiot 2024)."""

from asmil.encoders._card import EncoderCard

CARD = EncoderCard(
    name="phikon-v2",
    dim=1024,
    tile_px=224,
    mpp=0.5,
    licence="non-commercial (Owkin)",
    source="Filiot et al. 2024, arXiv 2409.09173",
    precision="fp16",
    weights="hf-hub:owkin/phikon-v2",
    architecture="vit_large_patch16_224",
    options={"init_values": 1.0},
    tokens="cls",
    millions=303.35,
)
