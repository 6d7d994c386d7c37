"""How far a stage is, for whoever listens, and what became of every slide."""

from typing import TYPE_CHECKING

from asmil.registry import load

if TYPE_CHECKING:
    from asmil.progress.listeners import Advance, Bars, Listener, Screen, default_listener, rate_text, steps_of_cells
    from asmil.progress.outcome import NOTED, Outcome, SetAside

_HOMES = {
    "listeners": ("Advance", "Bars", "Listener", "Screen", "default_listener", "rate_text", "steps_of_cells"),
    "outcome": ("NOTED", "Outcome", "SetAside"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> object:
    return load(__name__, _HOME_OF, name)
