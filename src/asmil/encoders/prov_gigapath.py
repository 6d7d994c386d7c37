"""Prov-GigaPath: the tile encoder, ViT-g/16 trained by DINOv2 on 171,000 slides (Xu 2024)."""

from asmil.encoders._card import EncoderCard

# Its authors cut 256 px at 0.5, and encode the inner 224: tiles of 224 px at 0.5 are the same pixels.
CARD = EncoderCard(
    name="prov-gigapath",
    dim=1536,
    tile_px=224,
    mpp=0.5,
    licence="Apache-2.0, for research",
    source="Xu et al. 2024, Nature, doi 10.1038/s41586-024-07441-w",
    gated=True,
    precision="fp16",
    weights="hf-hub:prov-gigapath/prov-gigapath",
    files=("pytorch_model.bin", "model.safetensors"),
    architecture="vit_giant_patch14_dinov2",
    options={"img_size": 224, "patch_size": 16, "mlp_ratio": 5.33334},
    tokens="cls",
    millions=1134.95,
)
