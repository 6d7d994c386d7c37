"""Attention-stabilised multiple-instance learning on whole-slide images.

The line: open_slide -> find_tissue -> tile -> embed -> open_features + read_cohort -> make_splits -> crossval ->
evaluate -> write_report. Names are loaded when used: importing asmil imports no torch.
"""

import importlib
from typing import Any

_ROOM_OF = {
    "AsmilError": "asmil.errors",
    "Slide": "asmil.slides",
    "open_slide": "asmil.slides",
    "scan_slides": "asmil.slides",
    "Tissue": "asmil.tiles",
    "TileGrid": "asmil.tiles",
    "find_tissue": "asmil.tiles",
    "tile": "asmil.tiles",
    "EncoderCard": "asmil.encoders",
    "create_encoder": "asmil.encoders",
    "embed": "asmil.encoders",
    "extract_slide": "asmil.encoders",
    "Bag": "asmil.bags",
    "BagBatch": "asmil.bags",
    "Cohort": "asmil.bags",
    "FeatureStore": "asmil.bags",
    "Splits": "asmil.bags",
    "load_bags": "asmil.bags",
    "make_splits": "asmil.bags",
    "open_features": "asmil.bags",
    "read_cohort": "asmil.bags",
    "Anchor": "asmil.attention",
    "AttentionStabilizer": "asmil.attention",
    "MILOutput": "asmil.models",
    "create_model": "asmil.models",
    "list_models": "asmil.models",
    "Run": "asmil.training",
    "TrainSettings": "asmil.training",
    "crossval": "asmil.training",
    "fit": "asmil.training",
    "predict": "asmil.training",
    "bootstrap_ci": "asmil.evaluation",
    "evaluate": "asmil.evaluation",
    "write_report": "asmil.report",
}

__all__ = sorted(_ROOM_OF)


def __getattr__(name: str) -> Any:
    if name not in _ROOM_OF:
        raise AttributeError(f"module 'asmil' has no attribute {name!r}")
    return getattr(importlib.import_module(_ROOM_OF[name]), name)


def __dir__() -> list[str]:
    return __all__
