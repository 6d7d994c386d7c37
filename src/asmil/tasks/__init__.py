"""Tasks beside single-label classification: how targets are read, learned from and predicted; one task per file."""

from typing import TYPE_CHECKING, cast

from asmil.registry import FolderRegistry, door

if TYPE_CHECKING:
    from asmil.tasks.parts.scores import (
        auroc,
        auroc_of_classes,
        concordance,
        concordant_shares,
        macro_auroc,
        mean_ranks,
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


def task_options(name: str) -> dict[str, object]:
    """The options of a task and their defaults.

    Raises:
        UnknownPartError: no task of that name.
    """
    return TASKS.options(name)


def create_task(name: str, **options: object) -> "Task":
    """Make a task by name; what `Task.options()` returned makes an equal one.

    Raises:
        UnknownPartError: no task of that name.
        ConfigError: the task has no such option, or its value is of another kind or out of range.
    """
    TASKS.check_options(name, options)
    TASKS.check_kinds(name, options)
    return cast("Task", TASKS[name](**options))
