"""Makes torchvision importable where its compiled half does not fit the torch that is installed."""

import importlib.util
from functools import cache
from pathlib import Path

from asmil.errors import EncoderError

_DECLARED: list[object] = []  # a torch Library undoes its declarations when it is collected


@cache
def prepare_torchvision() -> str:
    """Call before the first import of timm or torchvision; returns "native" or "declared".

    torchvision registers fake kernels of two operators without asking whether its library could be loaded. A
    build for CUDA beside a torch for the CPU then fails at import, though timm needs only its Python half:
    there the two operators are declared, and calling them fails as it should.

    Raises:
        EncoderError: torchvision is not installed.
    """
    import torch

    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        raise EncoderError(
            "this encoder needs timm and torchvision",
            fix="pip install 'asmil[encoders]', or use colour-texture",
        )
    library = Path(spec.origin).with_name("_C.so")
    if not library.exists():
        return "native"
    try:
        torch.ops.load_library(library)
    except OSError:
        declared = torch.library.Library("torchvision", "FRAGMENT")
        for operator in ("nms", "qnms"):
            declared.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _DECLARED.append(declared)
        return "declared"
    return "native"
