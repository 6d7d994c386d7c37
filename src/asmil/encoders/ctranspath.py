"""CTransPath: Swin-T with a stem of convolutions, contrastive learning on TCGA and PAIP (Wang 2022)."""

from asmil.encoders._card import EncoderCard

# mpp: 1.0 from memory, not checked; it has been used at 0.5 to 1.14.
CARD = EncoderCard(
    name="ctranspath",
    dim=768,
    tile_px=224,
    mpp=1.0,
    licence="GPL-3.0",
    source="Wang et al. 2022, Medical Image Analysis, doi 10.1016/j.media.2022.102559",
    weights="hf-hub:1aurent/swin_tiny_patch4_window7_224.CTransPath",
    architecture="swin_tiny_patch4_window7_224",
    options={"embed_layer": "ConvStem"},
    millions=27.52,
    ignored=("head.",),
)
