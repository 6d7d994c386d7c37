"""Tasks beside single-label classification: how targets are read, learned from and predicted; one task per file."""

import difflib
import inspect
from typing import TYPE_CHECKING, Any, cast

from asmil.errors import ConfigError
from asmil.files import Facts
from asmil.registry import FolderRegistry, load

if TYPE_CHECKING:
    from asmil.tasks.parts.scores import auroc as auroc
    from asmil.tasks.parts.scores import auroc_of_classes as auroc_of_classes
    from asmil.tasks.parts.scores import concordance as concordance
    from asmil.tasks.parts.scores import concordant_shares as concordant_shares
    from asmil.tasks.parts.scores import macro_auroc as macro_auroc
    from asmil.tasks.parts.scores import median_level as median_level
    from asmil.tasks.parts.scores import quadratic_kappa as quadratic_kappa
    from asmil.tasks.parts.scores import r2 as r2
    from asmil.tasks.parts.task import Targets as Targets
    from asmil.tasks.parts.task import Task as Task

TASKS = FolderRegistry("task", "asmil.tasks", "TASK")

_SCORES = (
    "auroc",
    "auroc_of_classes",
    "concordance",
    "concordant_shares",
    "macro_auroc",
    "median_level",
    "quadratic_kappa",
    "r2",
)
_HOMES = {"Task": "parts.task", "Targets": "parts.task", **dict.fromkeys(_SCORES, "parts.scores")}
__all__ = ["TASKS", "create_task", "list_tasks", "task_options", *_HOMES]


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


def __getattr__(name: str) -> object:
    return load(__name__, _HOMES, name)
