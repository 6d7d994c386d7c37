"""What has to be right before a training starts."""

from collections.abc import Sequence

from asmil.bags import Bag
from asmil.errors import CohortError, ConfigError
from asmil.tasks import Task
from asmil.training.optim import TrainSettings


def check_task(settings: TrainSettings, task: Task | None) -> None:
    """Raise a `ConfigError` where a task cannot be trained with these settings."""
    wrong = "val_auroc" if task else "val_metric"
    if settings.select == wrong:
        right = "val_metric" if task else "val_auroc"
        found = f"select={wrong} of {task.name if task else 'classification'}"
        raise ConfigError("this way to select an epoch is of another task", found=found, fix=f"{right}, or val_loss")
    if task and settings.batch_size < task.smallest_batch:
        raise ConfigError(
            f"the loss of {task.name} compares the bags of a batch",
            found=f"batch_size {settings.batch_size}",
            fix=f"at least {task.smallest_batch}, better 16 or more",
        )


def check_bags(train: Sequence[Bag], val: Sequence[Bag], settings: TrainSettings, *, task: Task | None = None) -> None:
    """Raise a `CohortError` unless these bags can be trained on, a `ConfigError` unless the settings suit the task."""
    check_task(settings, task)
    if not len(train):
        raise CohortError("there are no training bags")
    if not len(val) and settings.select != "last":
        raise CohortError(
            "no validation bags, so no epoch can be selected", fix="give a validation part, or select='last'"
        )
    what = "label" if task is None else "target"
    unlabelled = [bag.slide for part in (train, val) for bag in part if getattr(bag, what) is None]
    if unlabelled:
        raise CohortError(f"bags without a {what} cannot be trained on", found=", ".join(unlabelled[:5]))
