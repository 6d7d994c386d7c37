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
    weights="timm:resnet50.tv_in1k",
)


def load(*, device, weights, precision):
    """Load it by timm and drop the fourth stage; see `create_encoder`."""
    from torch import nn

    from asmil.encoders._timm import load_timm

    encoder = load_timm(CARD, architecture="resnet50", device=device, weights=weights, precision=precision)
    encoder.model.layer4 = nn.Identity()
    return encoder
