"""Contracts that anyone may run on their own model, encoder, slide reader or task. Loaded when used."""

from typing import TYPE_CHECKING

from asmil.registry import load

if TYPE_CHECKING:
    from asmil.testing.encoder import check_encoder
    from asmil.testing.model import check_model
    from asmil.testing.reader import check_reader
    from asmil.testing.report import CheckReport, CheckResult, ContractError
    from asmil.testing.task import check_task

_HOME_OF = {
    "CheckReport": "report",
    "CheckResult": "report",
    "ContractError": "report",
    "check_encoder": "encoder",
    "check_model": "model",
    "check_reader": "reader",
    "check_task": "task",
}
__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> object:
    return load(__name__, _HOME_OF, name)
