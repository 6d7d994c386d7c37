"""A figure of the ASMIL paper from a run of yours, as PNG and SVG; a second run to compare with."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

    from asmil.runs import Run

PANELS = 4
"""Epochs shown of the embeddings, evenly spread over those recorded."""


def figure(
    name: str = typer.Argument(help="fig1 (attention by epoch), fig3 (its sharpness), fig5 (embeddings by epoch)."),
    run: Path = typer.Argument(help="Run folder."),
    against: Path = typer.Option(None, help="Another run, to compare: without stabiliser, say."),
    out: Path = typer.Option(None, help="File without or with suffix; both .png and .svg are written. [RUN/figures]"),
) -> None:
    """Draw fig1, fig3 or fig5 of the paper from what a run recorded while it was trained."""
    from asmil.errors import ConfigError
    from asmil.figures import write_figure
    from asmil.runs import Run

    if name not in FIGURES:
        raise ConfigError("no figure of that name", found=name, fix=f"one of {', '.join(FIGURES)}")
    runs = _named([Run.open(path) for path in (run, against) if path is not None])
    drawn = FIGURES[name](runs)
    for path in write_figure(drawn, out or run / "figures" / name):
        typer.echo(path)


def _named(runs: "list[Run]") -> "dict[str, Run]":
    """Runs by what tells them apart: the stabiliser if only one has it, else model, else folder."""
    kinds = [
        ["with anchor" if r.settings.stabilize else "without anchor" for r in runs],
        [r.settings.model for r in runs],
        [r.folder.resolve().name for r in runs],
        [str(r.folder) for r in runs],
    ]
    names = next((names for names in kinds if len(set(names)) == len(runs)), kinds[-1])
    return dict(zip(names, runs, strict=True))


def _fig1(runs: "dict[str, Run]") -> "Figure":
    from asmil.figures import attention_by_epoch_figure

    jsd = {name: [log.jsd.to_numpy() for log in _logs(run)] for name, run in runs.items()}
    return attention_by_epoch_figure(jsd)


def _logs(run: "Run") -> list[Any]:
    logs = [cell.log() for cell in run.cells()]
    if not logs or any("jsd" not in log for log in logs):
        raise _missing(run, "attention by epoch", "no jsd in the folds' log.csv")
    return logs


def _fig3(runs: "dict[str, Run]") -> "Figure":
    import h5py
    import numpy as np

    from asmil.figures import sharpness_figure

    weights: dict[str, list[np.ndarray]] = {}
    for name, run in runs.items():
        paths = [path for cell in run.cells() if (path := cell.folder / "scores.h5").exists()]
        if not paths:
            raise _missing(run, "online and anchor weights", "no scores.h5: it was trained without a stabiliser")
        for path in paths:
            with h5py.File(path) as file:
                for key, title in (("softmax", "softmax of the model"), ("nsf", "NSF of the anchor")):
                    label = title if len(runs) == 1 else f"{title}, {name}"
                    weights.setdefault(label, []).append(file[key][:])
    return sharpness_figure({label: np.concatenate(several) for label, several in weights.items()})


def _fig5(runs: "dict[str, Run]") -> "Figure":
    import numpy as np

    from asmil.figures import embeddings_figure

    recorded = {name: _embeddings(run) for name, run in runs.items()}
    both = sorted(set.intersection(*(set(epochs) for epochs, _, _ in recorded.values())))
    shown = [both[i] for i in np.unique(np.linspace(0, len(both) - 1, PANELS).round().astype(int))]
    vectors = {
        name: values[[list(epochs).index(epoch) for epoch in shown]] for name, (epochs, values, _) in recorded.items()
    }
    return embeddings_figure(vectors, epochs=shown, labels={name: labels for name, (_, _, labels) in recorded.items()})


def _embeddings(run: "Run") -> "tuple[np.ndarray, np.ndarray, np.ndarray]":
    """Epochs, embeddings and labels of the validation slides of the run's first fold and seed."""
    import h5py
    import numpy as np

    from asmil.training import EMBEDDINGS

    for cell in run.cells()[:1]:
        with h5py.File(cell.folder / "dynamics.h5") as file:
            if EMBEDDINGS not in file:
                break
            group = file[EMBEDDINGS]
            slides, epochs, values = group["slide"].asstr()[:], group["epoch"][:], group["embedding"][:]
        if len(slides) < 5:
            raise _missing(run, "enough validation slides for a t-SNE", f"{len(slides)} slides; 5 are the least")
        label_of = cell.predictions().set_index("slide").label
        return epochs, values, np.array([label_of[slide] for slide in slides])
    raise _missing(run, "embeddings by epoch", "none in dynamics.h5 of its first fold")


def _missing(run: "Run", what: str, found: str) -> Exception:
    from asmil.errors import RunError

    return RunError(f"{run.folder} has no {what}", found=found, fix="train it with this version and a stabiliser")


FIGURES: "dict[str, Callable[[dict[str, Run]], Figure]]" = {"fig1": _fig1, "fig3": _fig3, "fig5": _fig5}
