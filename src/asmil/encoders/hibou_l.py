"""Hibou-L: ViT-L/14 with 4 registers, trained by DINOv2 on a million slides (Nechaev 2024)."""

from asmil.encoders._card import EncoderCard

# mpp: 0.5 from memory, not checked.
CARD = EncoderCard(
    name="hibou-l",
    dim=1024,
    tile_px=224,
    mpp=0.5,
    licence="Apache-2.0",
    source="Nechaev et al. 2024, arXiv 2406.05074",
    gated=True,
    mean=(0.7068, 0.5755, 0.722),
    std=(0.195, 0.2316, 0.1816),
    precision="fp16",
    weights="hf-hub:histai/hibou-L",
    architecture="vit_large_patch14_reg4_dinov2",
    options={
        "img_size": 224,
        "mlp_ratio": 2 * 2736 / 1024,
        "init_values": 1e-5,
        "mlp_layer": "SwiGLUPacked",
        "act_layer": "SiLU",
    },
    tokens="cls",
    registers=4,
    millions=303.66,
)
