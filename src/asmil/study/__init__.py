"""Many models, stabilisers and datasets compared: every fold and seed of every arm becomes a row of one table.

Names are loaded when used: reading this package imports no torch.
"""

from typing import TYPE_CHECKING

from asmil.registry import load

if TYPE_CHECKING:
    from asmil.study.arms import Arm, list_arms
    from asmil.study.cells import CellPlan, CellRecord, train_cells
    from asmil.study.config import StudyConfig, load_study
    from asmil.study.page import write_study_report
    from asmil.study.runner import Standing, StudyResult, run_study

_HOMES = {
    "arms": ("Arm", "list_arms"),
    "cells": ("CellPlan", "CellRecord", "train_cells"),
    "config": ("StudyConfig", "load_study"),
    "page": ("write_study_report",),
    "runner": ("Standing", "StudyResult", "run_study"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> object:
    return load(__name__, _HOME_OF, name)
