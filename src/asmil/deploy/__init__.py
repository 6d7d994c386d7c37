"""A finished run put to use: predictions of new slides, ONNX files, and a card that says what the model is."""

from typing import Any

from asmil.registry import load

_HOME = {
    "Ensemble": "ensemble",
    "EnsemblePrediction": "ensemble",
    "Exported": "use",
    "Member": "ensemble",
    "Predicted": "use",
    "Predictions": "use",
    "Preprocessing": "profile",
    "Profile": "profile",
    "export_onnx": "onnx_file",
    "export_run": "use",
    "load_ensemble": "ensemble",
    "model_card": "card",
    "predict_new": "use",
    "predict_slides": "use",
    "prepare": "use",
    "settings_for_new": "use",
    "write_card": "card",
    "write_heatmap": "use",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    return load(__name__, _HOME, name)
