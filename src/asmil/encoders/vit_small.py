"""ViT-S/16 trained by DINO on tiles of TCGA slides (Kang 2023): small, and made for histology."""

from asmil.encoders._card import EncoderCard

CARD = EncoderCard(
    name="vit-small",
    dim=384,
    tile_px=224,
    mpp=0.5,
    licence="non-commercial (Lunit)",
    source="Kang et al. 2023, self-supervised learning on diverse pathology datasets, arXiv 2212.04690",
    mean=(0.70322989, 0.53606487, 0.66096631),
    std=(0.21716536, 0.26081574, 0.20723464),
    precision="fp16",
    weights="hf-hub:1aurent/vit_small_patch16_224.lunit_dino",
    architecture="vit_small_patch16_224",
    tokens="cls",
    millions=21.67,
)
