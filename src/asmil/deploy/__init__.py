"""A finished run put to use: predictions of new slides, ONNX files, and a card that says what the model is."""

from typing import TYPE_CHECKING

from asmil.registry import load

if TYPE_CHECKING:
    from asmil.deploy.card import model_card, write_card
    from asmil.deploy.ensemble import Ensemble, EnsemblePrediction, Member, Published, load_ensemble
    from asmil.deploy.onnx_file import Exported, export_onnx, export_run
    from asmil.deploy.profile import Preprocessing, Profile
    from asmil.deploy.use import (
        Predicted,
        Predictions,
        predict_new,
        predict_published,
        predict_slides,
        prepare,
        settings_for_new,
        write_heatmap,
    )

_HOMES = {
    "card": ("model_card", "write_card"),
    "ensemble": ("Ensemble", "EnsemblePrediction", "Member", "Published", "load_ensemble"),
    "onnx_file": ("Exported", "export_onnx", "export_run"),
    "profile": ("Preprocessing", "Profile"),
    "use": (
        "Predicted",
        "Predictions",
        "predict_new",
        "predict_published",
        "predict_slides",
        "prepare",
        "settings_for_new",
        "write_heatmap",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> object:
    return load(__name__, _HOME_OF, name)
