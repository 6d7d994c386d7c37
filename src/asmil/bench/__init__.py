"""What this machine reaches: every part of the training measured against a plain form of it, in ratios of one run.

Names are loaded when used: reading this package imports no torch.
"""

from typing import TYPE_CHECKING

from asmil.registry import load

if TYPE_CHECKING:
    from asmil.bench.guard import Change, best_of, compare, keep_ratios
    from asmil.bench.machine import Machine, machine_facts, measure_machine
    from asmil.bench.parts import PARTS
    from asmil.bench.rows import Row, read_rows, write_rows
    from asmil.bench.runner import check_against, run_parts
    from asmil.bench.scale import DEFAULT, QUICK, Scale
    from asmil.bench.table import print_changes, print_rows, write_curve
    from asmil.bench.textbook import TextbookASMIL

_HOMES = {
    "guard": ("Change", "best_of", "compare", "keep_ratios"),
    "machine": ("Machine", "machine_facts", "measure_machine"),
    "parts": ("PARTS",),
    "rows": ("Row", "read_rows", "write_rows"),
    "runner": ("check_against", "run_parts"),
    "scale": ("DEFAULT", "QUICK", "Scale"),
    "table": ("print_changes", "print_rows", "write_curve"),
    "textbook": ("TextbookASMIL",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> object:
    return load(__name__, _HOME_OF, name)
