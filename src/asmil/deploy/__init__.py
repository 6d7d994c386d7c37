"""A finished run put to use: predictions of new slides."""

from typing import Any

from asmil._lazy import load

_HOME = {
    "Ensemble": "ensemble",
    "EnsemblePrediction": "ensemble",
    "Member": "members",
    "Preprocessing": "preprocessing",
    "Profile": "profile",
    "load_ensemble": "ensemble",
    "predict_slides": "slides",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    return load(__name__, _HOME, name)
