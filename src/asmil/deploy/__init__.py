"""A finished run put to use: predictions of new slides, ONNX files, and a card that says what the model is."""

from typing import TYPE_CHECKING

from asmil.registry import door

if TYPE_CHECKING:
    from asmil.deploy.card import model_card, write_card
    from asmil.deploy.ensemble import Ensemble, EnsemblePrediction, Member, Published, load_ensemble
    from asmil.deploy.onnx_file import Exported, OnnxModel, export_onnx, export_run
    from asmil.deploy.prepared import settings_for_new
    from asmil.deploy.profile import Preprocessing, Profile
    from asmil.deploy.qupath import write_qupath
    from asmil.deploy.use import (
        Predicted,
        Predictions,
        predict_new,
        predict_published,
        predict_slides,
        prepare,
        write_heatmap,
    )
else:
    __all__, __getattr__ = door(__name__)
