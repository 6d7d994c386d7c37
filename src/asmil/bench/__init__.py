"""What this machine reaches: every part of the training measured against a plain form of it, in ratios of one run.

Names are loaded when used: reading this package imports no torch.
"""

from typing import TYPE_CHECKING

from asmil.registry import door

if TYPE_CHECKING:
    from asmil.bench.parts import PARTS
    from asmil.bench.rows import DEFAULT, QUICK, Row, Scale, read_rows, write_rows
    from asmil.bench.runner import Change, best_of, check_against, compare, keep_ratios, run_parts
    from asmil.bench.steps import TextbookASMIL
    from asmil.bench.table import print_changes, print_rows, write_curve
    from asmil.bench.timing import Machine, machine_facts, measure_machine
else:
    __all__, __getattr__ = door(__name__)
