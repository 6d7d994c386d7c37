"""Contracts that anyone may run on their own model, encoder, slide reader or task. Loaded when used."""

from typing import TYPE_CHECKING

from asmil.registry import door

if TYPE_CHECKING:
    from asmil.testing.encoder import check_encoder
    from asmil.testing.model import check_model
    from asmil.testing.reader import check_reader
    from asmil.testing.report import CheckReport, CheckResult, ContractError
    from asmil.testing.task import check_task
else:
    __all__, __getattr__ = door(__name__)
