"""Contracts that anyone may run on their own model, encoder, slide reader or task."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asmil.testing.encoder import check_encoder as check_encoder
    from asmil.testing.model import check_model as check_model
    from asmil.testing.reader import check_reader as check_reader
    from asmil.testing.task import check_task as check_task

__all__ = ["check_encoder", "check_model", "check_reader", "check_task"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module(f"asmil.testing.{name.removeprefix('check_')}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
