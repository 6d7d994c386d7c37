"""Virchow: ViT-H/14 trained by DINOv2 on 1.5 million slides (Vorontsov 2024)."""

from asmil.encoders._card import EncoderCard

CARD = EncoderCard(
    name="virchow",
    dim=2560,
    tile_px=224,
    mpp=0.5,
    licence="Apache-2.0",
    source="Vorontsov et al. 2024, Nature Medicine, doi 10.1038/s41591-024-03141-0",
    gated=True,
    precision="fp16",
    weights="hf-hub:paige-ai/Virchow",
    architecture="vit_huge_patch14_224",
    options={"mlp_ratio": 5.3375, "init_values": 1e-5, "mlp_layer": "SwiGLUPacked", "act_layer": "SiLU"},
    tokens="cls+mean",
    millions=631.23,
)
