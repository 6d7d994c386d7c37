"""Models, stabilisers and datasets compared: every fold and seed of every arm trained, one table, one page."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from asmil.study import Standing


def study(
    config: Path = typer.Argument(help="YAML file: datasets, models, stabilizers, folds, seeds, settings, out."),
    workers: int | None = typer.Option(None, min=1, help="Training processes, one thread each; 1 uses all threads."),
    engine: str | None = typer.Option(None, help="What runs the processes: local, or ray."),
    out: Path | None = typer.Option(None, help="Output folder, instead of the file's."),
    only: str | None = typer.Option(None, help="Only arms of this name: musk1--abmil--none, a part of it, or *."),
) -> None:
    """Train what is not trained yet, and write results.csv and report.html; run it again to go on or to add arms."""
    from asmil.cli import exit_with
    from asmil.progress import Outcome, Screen
    from asmil.settings import device_of, require_writable
    from asmil.study import load_study, run_study, write_study_report

    settings = load_study(config, {"out": out, "workers": workers, "engine": engine})
    require_writable(settings.out)
    settings = settings.model_copy(update={"device": device_of(settings.device)})
    with _progress() as show:
        result = run_study(settings, only=only, progress=show)
    outcome = Outcome()
    for arm in result.arms:
        outcome.ok(arm)
    for failure in result.failures:
        outcome.failed(failure.arm, stage="train", reason=f"{failure.error}: {failure.reason}")
    Screen().closing(outcome)
    if result.cells:
        typer.echo(f"table:  {result.table}")
        typer.echo(f"report: {write_study_report(result.folder)}")
    exit_with(outcome)


@contextmanager
def _progress() -> Iterator[Callable[["Standing"], None]]:
    """A bar of cells with the arm at work on a terminal; off a terminal a line where an arm is done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    if not sys.stderr.isatty():
        yield _Lines()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("cells"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bars:
        task = bars.add_task("study", total=None)

        def show(standing: "Standing") -> None:
            text = f"{standing.arms_done}/{standing.arms} arms  {standing.arm}"
            bars.update(task, description=text, total=standing.cells, completed=standing.cells_done)

        yield show


class _Lines:
    """Prints how far a study is whenever an arm is done, with the time left at the pace so far."""

    def __init__(self) -> None:
        self._start, self._arms = time.monotonic(), -1

    def __call__(self, standing: "Standing") -> None:
        if standing.arms_done == self._arms:
            return
        self._arms = standing.arms_done
        trained, left = standing.cells_done - standing.cells_before, standing.cells - standing.cells_done
        rest = f", {(time.monotonic() - self._start) / trained * left / 60:.1f} min left" if trained and left else ""
        head = f"{standing.arms_done}/{standing.arms} arms, {standing.cells_done}/{standing.cells} cells{rest}"
        print(f"study: {head}{'; at ' + standing.arm if standing.arm else ''}", file=sys.stderr, flush=True)
