"""ResNet-18 of ImageNet: the smallest baseline."""

from asmil.encoders._card import EncoderCard

CARD = EncoderCard(
    name="resnet18",
    dim=512,
    tile_px=224,
    mpp=None,
    licence="BSD-3-Clause",
    source="He et al. 2016, arXiv 1512.03385",
    precision="fp16",
    weights="hf-hub:timm/resnet18.tv_in1k",
    architecture="resnet18",
    millions=11.18,
)
