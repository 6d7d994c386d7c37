"""Virchow2: ViT-H/14 with 4 registers, trained by DINOv2 on 3.1 million slides (Zimmermann 2024)."""

from asmil.encoders._card import EncoderCard

# mpp: trained at 0.25 to 2; 0.5 is the scale of its benchmarks, from memory, not checked.
CARD = EncoderCard(
    name="virchow2",
    dim=2560,
    tile_px=224,
    mpp=0.5,
    licence="CC-BY-NC-ND-4.0",
    source="Zimmermann et al. 2024, arXiv 2408.00738",
    gated=True,
    precision="fp16",
    weights="hf-hub:paige-ai/Virchow2",
    architecture="vit_huge_patch14_224",
    options={
        "mlp_ratio": 5.3375,
        "init_values": 1e-5,
        "reg_tokens": 4,
        "mlp_layer": "SwiGLUPacked",
        "act_layer": "SiLU",
    },
    tokens="cls+mean",
    registers=4,
    millions=631.24,
)
