"""How far a run is: which of its models are whole, which have to be trained again and why, who was never tested."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from asmil.bags.problem import listed
from asmil.runs.cell import Cell
from asmil.runs.seal import State

SHOWN = 4
"""Models named in a message."""


@dataclass(frozen=True)
class Standing:
    """The state of every model that a run is to have, and `tests`: by fold, the slides that it tests."""

    states: Mapping[Cell, State]
    tests: Mapping[int, frozenset[str]]

    @cached_property
    def whole(self) -> list[Cell]:
        """The finished models, by fold and seed."""
        return [cell for cell, state in self.states.items() if state.whole]

    @cached_property
    def unfinished(self) -> dict[Cell, State]:
        """Those that the same command has to train."""
        return {cell: state for cell, state in self.states.items() if not state.whole}

    @cached_property
    def untested(self) -> list[str]:
        """Slides that no finished model was tested on."""
        tested = frozenset[str]().union(*(self.tests.get(cell.fold, ()) for cell in self.whole))
        return sorted(frozenset[str]().union(*self.tests.values()) - tested)

    def __str__(self) -> str:
        text = f"{len(self.whole)} of {len(self.states)} models are finished"
        if len(self.untested) == 1:
            return f"{text}; 1 slide was never tested"
        return f"{text}; {len(self.untested)} slides were never tested" if self.untested else text

    @property
    def partial(self) -> str:
        """What a page or a file says that was made of a part of the models; empty where all are finished."""
        if not self.unfinished:
            return ""
        return f"A partial look: {str(self).replace(' are finished', '')}."

    @property
    def reasons(self) -> str:
        """What is missing or broken, in one line."""
        damaged = [f"{cell.name}: {state}" for cell, state in self.unfinished.items() if state.begun]
        missing = [cell.name for cell, state in self.unfinished.items() if not state.begun]
        return "; ".join([*damaged[:SHOWN], *([f"missing {listed(missing, SHOWN)}"] if missing else [])])

    @property
    def says(self) -> list[str]:
        """Lines for whoever goes on with the run: what is trained again and why, and what cannot be checked."""
        again = [f"{cell.name} is trained again: {state}" for cell, state in self.unfinished.items() if state.begun]
        old = sum(state.digests is None for state in self.states.values() if state.whole)
        plural = "models have" if old != 1 else "model has"
        return again + [f"{old} finished {plural} no seal (an older version): all files are there"] * bool(old)


def even(cells: list[Cell]) -> list[Cell]:
    """The most of these models that make whole rows and columns: all chosen folds with the same seeds.

    A mean over the seeds of each fold is comparable only so.
    """
    seeds_of: dict[int, set[int]] = {}
    for cell in cells:
        seeds_of.setdefault(cell.fold, set()).add(cell.seed)
    sets = {frozenset(a & b) for a in seeds_of.values() for b in seeds_of.values()} - {frozenset()}

    def folds(seeds: frozenset[int]) -> list[int]:
        return [fold for fold, own in seeds_of.items() if seeds <= own]

    # of equally many, more folds: they test more slides
    best = max(sets, key=lambda seeds: (len(seeds) * len(folds(seeds)), len(folds(seeds)), sorted(seeds)), default=None)
    return [] if best is None else [c for c in cells if c.seed in best and c.fold in folds(best)]
