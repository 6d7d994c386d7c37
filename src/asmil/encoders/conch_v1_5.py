"""CONCH v1.5: ViT-L/16 and attention pooling, the tile encoder of TITAN (Ding 2024)."""

from asmil.encoders._card import EncoderCard

# mpp: TITAN cuts 512 px at 0.5 and shrinks them to 448; tiles of 448 px at 0.5 see a little less.
CARD = EncoderCard(
    name="conch-v1-5",
    dim=768,
    tile_px=448,
    mpp=0.5,
    licence="CC-BY-NC-ND-4.0",
    source="Ding et al. 2024 (TITAN), arXiv 2411.19666",
    gated=True,
    precision="fp16",
    weights="hf-hub:MahmoodLab/conchv1_5",
    files=("pytorch_model_vision.bin", "model.safetensors", "pytorch_model.bin"),
    architecture="vit_large_patch16_224",
    options={"img_size": 448, "init_values": 1e-6},
    millions=306.71,
)


def build(card):
    """The visual tower without weights; see `asmil.encoders._conch`."""
    from asmil.encoders._conch import ConchVision, PoolerWithoutBiases

    return ConchVision(card, PoolerWithoutBiases)
