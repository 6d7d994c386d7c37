"""ResNet-50 of ImageNet cut after its third stage: the features of CLAM and older benchmarks."""

from asmil.encoders._card import EncoderCard

CARD = EncoderCard(
    name="resnet50",
    dim=1024,
    tile_px=256,
    mpp=None,
    licence="BSD-3-Clause",
    source="He et al. 2016, arXiv 1512.03385; cut as by Lu et al. 2021 (CLAM), arXiv 2004.09666",
    precision="fp16",
    weights="hf-hub:timm/resnet50.tv_in1k",
    architecture="resnet50",
    options={"features_only": True, "out_indices": (3,)},
    tokens="map",
    millions=8.54,
    ignored=("layer4.", "fc."),
)
