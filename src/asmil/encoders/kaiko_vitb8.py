"""Kaiko ViT-B/8: trained by DINO on TCGA at several scales (Aben 2024)."""

from asmil.encoders._card import EncoderCard

# mpp: trained at 0.25 to 2; 0.5 is in the middle. Licence from memory, not checked.
CARD = EncoderCard(
    name="kaiko-vitb8",
    dim=768,
    tile_px=224,
    mpp=0.5,
    licence="non-commercial (kaiko.ai)",
    source="Aben et al. 2024, arXiv 2404.15217",
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    precision="fp16",
    weights="hf-hub:1aurent/vit_base_patch8_224.kaiko_ai_towards_large_pathology_fms",
    architecture="vit_base_patch8_224",
    tokens="cls",
    registers=0,
    millions=85.81,
)
