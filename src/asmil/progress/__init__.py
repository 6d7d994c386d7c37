"""How far a stage is and how training goes, for whoever listens, and what became of every slide."""

from typing import TYPE_CHECKING

from asmil.registry import door

if TYPE_CHECKING:
    from asmil.progress.listeners import (
        Advance,
        Bars,
        Listener,
        Screen,
        default_listener,
        model_name,
        rate_text,
        steps_of_cells,
    )
    from asmil.progress.outcome import FAILURES, NOTED, Outcome, SetAside
    from asmil.progress.trackers import TRACKERS, require_trackers, tracked
else:
    __all__, __getattr__ = door(__name__)
