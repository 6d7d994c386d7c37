"""A finished run put to use: predictions of new slides, ONNX files, and a card that says what the model is."""

from typing import Any

from asmil._lazy import load

_HOME = {
    "Ensemble": "ensemble",
    "EnsemblePrediction": "ensemble",
    "Member": "members",
    "Predicted": "slides",
    "Preprocessing": "preprocessing",
    "Profile": "profile",
    "export_onnx": "onnx_file",
    "load_ensemble": "ensemble",
    "model_card": "card",
    "predict_slides": "slides",
    "write_card": "card",
    "write_heatmap": "slides",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    return load(__name__, _HOME, name)
