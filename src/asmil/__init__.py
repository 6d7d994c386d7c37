"""Attention-stabilised multiple-instance learning on whole-slide images.

All in one: `run(slides=... or features=..., labels=..., out=...)`; stage by stage: extract, train, evaluate,
write_report; part by part: open_slide -> find_tissue -> tile -> embed -> open_features + read_cohort -> make_splits ->
crossval. Names are loaded when used: importing asmil imports no torch.
"""

from typing import TYPE_CHECKING

from asmil.registry import door

if TYPE_CHECKING:
    from asmil.attention import Anchor, AttentionStabilizer
    from asmil.bags import (
        Bag,
        BagBatch,
        Cohort,
        FeatureStore,
        Splits,
        load_bags,
        make_splits,
        open_features,
        read_cohort,
    )
    from asmil.encoders import EncoderCard, create_encoder
    from asmil.errors import AsmilError
    from asmil.evaluation import bootstrap_ci
    from asmil.extraction import embed, extract_slides
    from asmil.models import MILOutput, create_model, list_models, wrap
    from asmil.runs import Run, evaluate, extract, run, train, write_report
    from asmil.settings import Settings
    from asmil.slides import Slide, open_slide, scan_slides
    from asmil.tiles import TileGrid, Tissue, find_tissue, tile
    from asmil.training import TrainSettings, crossval, fit, predict  # type: ignore[no-redef]  # modules too
else:
    __all__, __getattr__ = door(__name__)
