"""Many models, stabilisers and datasets compared: every fold and seed of every arm becomes a row of one table.

Names are loaded when used: reading this package imports no torch.
"""

from typing import Any

from asmil.registry import load

_HOME = {
    "Arm": "arms",
    "CellPlan": "cells",
    "CellRecord": "cells",
    "StudyConfig": "config",
    "StudyResult": "runner",
    "list_arms": "arms",
    "load_study": "config",
    "run_study": "runner",
    "train_cells": "cells",
    "write_study_report": "page",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    return load(__name__, _HOME, name)
