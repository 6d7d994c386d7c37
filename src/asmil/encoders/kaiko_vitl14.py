"""Kaiko ViT-L/14: trained by DINOv2 on TCGA at several scales (Aben 2024)."""

from asmil.encoders._card import EncoderCard

# mpp: trained at 0.25 to 2; 0.5 is in the middle. Licence from memory, not checked. Its positions are those of 518 px.
CARD = EncoderCard(
    name="kaiko-vitl14",
    dim=1024,
    tile_px=224,
    mpp=0.5,
    licence="non-commercial (kaiko.ai)",
    source="Aben et al. 2024, arXiv 2404.15217",
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    precision="fp16",
    weights="hf-hub:1aurent/vit_large_patch14_reg4_dinov2.kaiko_ai_towards_large_pathology_fms",
    architecture="vit_large_patch14_reg4_dinov2",
    options={"img_size": 518, "dynamic_img_size": True},
    tokens="cls",
    registers=4,
    millions=304.37,
)
