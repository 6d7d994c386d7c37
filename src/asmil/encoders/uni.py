"""UNI: ViT-L/16 trained by DINOv2 on 100,000 slides (Chen 2024)."""

from asmil.encoders._card import EncoderCard

CARD = EncoderCard(
    name="uni",
    dim=1024,
    tile_px=224,
    mpp=0.5,
    licence="CC-BY-NC-ND-4.0",
    source="Chen et al. 2024, Nature Medicine, doi 10.1038/s41591-024-02857-3",
    gated=True,
    precision="fp16",
    weights="hf-hub:MahmoodLab/UNI",
    architecture="vit_large_patch16_224",
    options={"init_values": 1e-5},
    tokens="cls",
    millions=303.35,
)
