"""Save and continue a training in the middle: weights, optimiser, anchor, what listeners recorded."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from asmil.errors import AsmilError, RunError
from asmil.files import Facts, written_beside

if TYPE_CHECKING:
    from asmil.training.fit import Member
    from asmil.training.listeners import Listener


def save_checkpoint(path: Path, members: Sequence["Member"]) -> None:
    """Write the state of all members. No random state is in it: draws follow from a member's key, epoch and step."""
    with written_beside(path) as partial:
        torch.save({repr(member.key): _state(member) for member in members}, partial)


def load_checkpoint(path: Path, members: Sequence["Member"]) -> None:
    """Put the members back where they were.

    Raises:
        RunError: the file is of other members. Nothing pickled is run: tensors and plain values only.
    """
    known = torch.load(path, map_location="cpu", weights_only=True)
    wanted = {repr(member.key): member for member in members}
    if known.keys() != wanted.keys():
        raise RunError(
            f"checkpoint {path} belongs to another run",
            found=f"{', '.join(map(str, known))}; expected {', '.join(wanted)}",
            fix="delete it, or use another output folder",
        )
    for key, member in wanted.items():
        _restore(member, known[key], path)


def _with_state(listeners: Sequence["Listener"]) -> list[Any]:
    return [listener for listener in listeners if hasattr(listener, "state_dict")]


def _state(member: "Member") -> Facts:
    error = member.error
    return {
        "model": member.model.state_dict(),
        "best": member.best,
        "moments": member.moments,
        "stabilizer": member.stabilizer and member.stabilizer.state_dict(),
        "listeners": [listener.state_dict() for listener in _with_state(member.listeners)],
        "result": dataclasses.asdict(member.result),
        "error": error and {"what": error.what, "found": str(error.found), "fix": error.fix},
    }


def _restore(member: "Member", state: Facts, path: Path) -> None:
    listeners = _with_state(member.listeners)
    if (state["stabilizer"] is None) != (member.stabilizer is None) or len(state["listeners"]) != len(listeners):
        raise RunError(
            f"checkpoint {path} belongs to another run",
            found="another stabiliser or other listeners",
            fix="delete it, or use another output folder",
        )
    member.model.load_state_dict(state["model"])
    member.best, member.moments = state["best"], state["moments"]
    member.result = type(member.result)(**state["result"])
    member.error = AsmilError(**state["error"]) if state["error"] else None
    if member.stabilizer:
        member.stabilizer.load_state_dict(state["stabilizer"])
    for listener, own in zip(listeners, state["listeners"], strict=True):
        listener.load_state_dict(own)
