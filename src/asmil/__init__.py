"""Attention-stabilised multiple-instance learning on whole-slide images.

All in one: `run(slides=... or features=..., labels=..., out=...)`; stage by stage: extract, train, evaluate,
write_report; part by part: open_slide -> find_tissue -> tile -> embed -> open_features + read_cohort -> make_splits ->
crossval. Names are loaded when used: importing asmil imports no torch.
"""

from typing import Any

from asmil.registry import load

_ROOM_OF = {
    "AsmilError": "errors",
    "Slide": "slides",
    "open_slide": "slides",
    "scan_slides": "slides",
    "Tissue": "tiles",
    "TileGrid": "tiles",
    "find_tissue": "tiles",
    "tile": "tiles",
    "EncoderCard": "encoders",
    "create_encoder": "encoders",
    "embed": "extraction",
    "extract_slides": "extraction",
    "Bag": "bags",
    "BagBatch": "bags",
    "Cohort": "bags",
    "FeatureStore": "bags",
    "Splits": "bags",
    "load_bags": "bags",
    "make_splits": "bags",
    "open_features": "bags",
    "read_cohort": "bags",
    "Anchor": "attention",
    "AttentionStabilizer": "attention",
    "MILOutput": "models",
    "create_model": "models",
    "list_models": "models",
    "TrainSettings": "training",
    "crossval": "training",
    "fit": "training",
    "predict": "training",
    "Run": "runs",
    "Settings": "settings",
    "evaluate": "runs",
    "extract": "runs",
    "run": "runs",
    "train": "runs",
    "write_report": "runs",
    "bootstrap_ci": "evaluation",
}

__all__ = sorted(_ROOM_OF)


def __getattr__(name: str) -> Any:
    return load(__name__, _ROOM_OF, name)
