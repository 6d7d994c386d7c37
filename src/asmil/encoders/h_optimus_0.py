"""H-optimus-0: ViT-g/14 with 4 registers, trained by DINOv2 on 500,000 slides (Bioptimus)."""

from asmil.encoders._card import EncoderCard

CARD = EncoderCard(
    name="h-optimus-0",
    dim=1536,
    tile_px=224,
    mpp=0.5,
    licence="Apache-2.0",
    source="Bioptimus, https://huggingface.co/bioptimus/H-optimus-0",
    gated=True,
    mean=(0.707223, 0.578729, 0.703617),
    std=(0.211883, 0.230117, 0.177517),
    precision="fp16",
    weights="hf-hub:bioptimus/H-optimus-0",
    architecture="vit_giant_patch14_reg4_dinov2",
    options={"img_size": 224, "init_values": 1e-5},
    tokens="cls",
    registers=4,
    millions=1134.77,
)
