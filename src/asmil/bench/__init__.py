"""What this machine reaches: every part of the training measured against a plain form of it, in ratios of one run.

Names are loaded when used: reading this package imports no torch.
"""

from typing import Any

from asmil._lazy import load

_HOME = {
    "Change": "guard",
    "DEFAULT": "scale",
    "PARTS": "parts",
    "QUICK": "scale",
    "Row": "rows",
    "Scale": "scale",
    "check_against": "runner",
    "compare": "guard",
    "keep_ratios": "guard",
    "machine_facts": "machine",
    "measure_machine": "machine",
    "print_changes": "table",
    "print_rows": "table",
    "read_rows": "rows",
    "run_parts": "runner",
    "write_curve": "picture",
    "write_rows": "rows",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    return load(__name__, _HOME, name)
