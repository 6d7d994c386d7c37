"""CONCH: ViT-B/16 and attention pooling, trained on images and captions (Lu 2024)."""

from asmil.encoders._card import EncoderCard

# mpp: 448 px of captioned figures of any scale; 0.5 is the convention, from memory, not checked.
CARD = EncoderCard(
    name="conch",
    dim=512,
    tile_px=448,
    mpp=0.5,
    licence="CC-BY-NC-ND-4.0",
    source="Lu et al. 2024, Nature Medicine, doi 10.1038/s41591-024-02856-4",
    gated=True,
    weights="hf-hub:MahmoodLab/CONCH",
    files=("pytorch_model.bin", "model.safetensors"),
    architecture="vit_base_patch16_224",
    options={"img_size": 448},
    millions=87.57,
    ignored=("proj_contrast", "attn_pool_caption.", "ln_caption."),
)


def build(card):
    """The visual tower without weights; see `asmil.encoders._conch`."""
    from asmil.encoders._conch import ConchVision, PoolerWithBiases

    return ConchVision(card, PoolerWithBiases)
