"""How far a stage is, for whoever listens, and what became of every slide."""

from typing import Any

from asmil.registry import load

_HOME = {
    "Advance": "listeners",
    "Bars": "listeners",
    "Listener": "listeners",
    "NOTED": "outcome",
    "Outcome": "outcome",
    "Screen": "listeners",
    "SetAside": "outcome",
    "default_listener": "listeners",
    "rate_text": "listeners",
    "steps_of_cells": "listeners",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    return load(__name__, _HOME, name)
