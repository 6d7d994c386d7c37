"""Tasks beside single-label classification: how targets are read, learned from and predicted; one task per file."""

import difflib
import inspect
from typing import TYPE_CHECKING, Any, cast

from asmil.errors import ConfigError
from asmil.files import Facts
from asmil.registry import FolderRegistry, door

if TYPE_CHECKING:
    from asmil.tasks.parts.scores import (
        auroc,
        auroc_of_classes,
        concordance,
        concordant_shares,
        macro_auroc,
        median_level,
        quadratic_kappa,
        r2,
    )
    from asmil.tasks.parts.task import Targets, Task
else:
    __all__, __getattr__ = door(__name__)

TASKS = FolderRegistry("task", "asmil.tasks", "TASK")


def list_tasks() -> list[str]:
    """Names that `create_task` takes, sorted; imports no torch. Classification is no task of this room."""
    return TASKS.names()


def task_options(name: str) -> Facts:
    """The options of a task and their defaults.

    Raises:
        UnknownPartError: no task of that name.
    """
    return {p.name: p.default for p in inspect.signature(TASKS[name]).parameters.values()}


def create_task(name: str, **options: Any) -> "Task":
    """Make a task by name; what `Task.options()` returned makes an equal one.

    Raises:
        UnknownPartError: no task of that name.
        ConfigError: the task has no such option, or its value is out of range.
    """
    known = task_options(name)
    for option in options:
        if option not in known:
            close = difflib.get_close_matches(option, known, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise ConfigError(
                f"the task {name!r} has no option {option!r}", fix=f"{hint}its options: {', '.join(known)}"
            )
    return cast("Task", TASKS[name](**options))
