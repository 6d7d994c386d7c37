"""What this machine reaches: every part of the training measured against a plain form of it, in ratios of one run.

Names are loaded when used: reading this package imports no torch.
"""

from typing import TYPE_CHECKING

from asmil.registry import load

if TYPE_CHECKING:
    from asmil.bench.parts import PARTS
    from asmil.bench.rows import DEFAULT, QUICK, Row, Scale, read_rows, write_rows
    from asmil.bench.runner import Change, best_of, check_against, compare, keep_ratios, run_parts
    from asmil.bench.steps import TextbookASMIL
    from asmil.bench.table import print_changes, print_rows, write_curve
    from asmil.bench.timing import Machine, machine_facts, measure_machine

_HOMES = {
    "timing": ("Machine", "machine_facts", "measure_machine"),
    "parts": ("PARTS",),
    "rows": ("DEFAULT", "QUICK", "Row", "Scale", "read_rows", "write_rows"),
    "runner": ("Change", "best_of", "check_against", "compare", "keep_ratios", "run_parts"),
    "table": ("print_changes", "print_rows", "write_curve"),
    "steps": ("TextbookASMIL",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> object:
    return load(__name__, _HOME_OF, name)
