"""Many models, stabilisers and datasets compared: every fold and seed of every arm becomes a row of one table.

Names are loaded when used: reading this package imports no torch.
"""

from typing import TYPE_CHECKING

from asmil.registry import door

if TYPE_CHECKING:
    from asmil.study.arms import Arm, list_arms
    from asmil.study.cells import CellPlan, CellRecord, train_cells
    from asmil.study.config import StudyConfig, load_study
    from asmil.study.page import write_study_report
    from asmil.study.runner import StudyResult, run_study
else:
    __all__, __getattr__ = door(__name__)
