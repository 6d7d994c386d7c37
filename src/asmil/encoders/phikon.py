"""Phikon: ViT-B/16 trained by iBOT on TCGA (Filiot 2023)."""

from asmil.encoders._card import EncoderCard

CARD = EncoderCard(
    name="phikon",
    dim=768,
    tile_px=224,
    mpp=0.5,
    licence="non-commercial (Owkin)",
    source="Filiot et al. 2023, medRxiv, doi 10.1101/2023.07.21.23292757",
    precision="fp16",
    weights="hf-hub:owkin/phikon",
    architecture="vit_base_patch16_224",
    options={"norm_layer": 1e-12},
    tokens="cls",
    millions=85.8,
)
