"""UNI2-h: ViT-H/14 with 8 registers, trained by DINOv2 on 350,000 slides (Chen 2024)."""

from asmil.encoders._card import EncoderCard

CARD = EncoderCard(
    name="uni2-h",
    dim=1536,
    tile_px=224,
    mpp=0.5,
    licence="CC-BY-NC-ND-4.0",
    source="https://huggingface.co/MahmoodLab/UNI2-h; Chen et al. 2024, doi 10.1038/s41591-024-02857-3",
    gated=True,
    precision="bf16",
    weights="hf-hub:MahmoodLab/UNI2-h",
    architecture="vit_giant_patch14_224",
    options={
        "img_size": 224,
        "depth": 24,
        "num_heads": 24,
        "embed_dim": 1536,
        "mlp_ratio": 2.66667 * 2,
        "init_values": 1e-5,
        "no_embed_class": True,
        "reg_tokens": 8,
        "mlp_layer": "SwiGLUPacked",
        "act_layer": "SiLU",
    },
    tokens="cls",
    registers=8,
    millions=681.39,
)
