"""PLIP: the image half of CLIP ViT-B/32, tuned on images and texts of pathologists (Huang 2023)."""

from asmil.encoders._card import CLIP_MEAN, CLIP_STD, EncoderCard

# mpp: pictures of any scale. The licence is not stated with the weights.
CARD = EncoderCard(
    name="plip",
    dim=512,
    tile_px=224,
    mpp=None,
    licence="not stated",
    source="Huang et al. 2023, Nature Medicine, doi 10.1038/s41591-023-02504-3",
    mean=CLIP_MEAN,
    std=CLIP_STD,
    precision="fp16",
    weights="hf-hub:vinid/plip",
    architecture="vit_base_patch32_clip_quickgelu_224",
    options={"num_classes": 512},
    millions=87.85,
    ignored=("text_model.", "text_projection.", "logit_scale"),
)
