"""A figure of the ASMIL paper, drawn from what runs recorded while they were trained."""

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from asmil.errors import ConfigError, RunError
from asmil.figures import embeddings_figure, epochs_figure, maps_figure, weights_figure, write_figure
from asmil.report.maps import attention_and_tiles, drawn, marks
from asmil.runs import Run
from asmil.settings import require_writable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAPS = 4
"""Slides of which maps are shown, unless they are named."""
PANELS = 4
"""Epochs shown of the embeddings, evenly spread over those recorded."""
FEWEST = 5
"""Slides that a t-SNE needs."""

Runs = Mapping[str, Run]


def write_paper_figure(
    name: str, runs: Sequence[Run], out: Path | None = None, *, slides: Sequence[str] = (), partial: bool = False
) -> list[Path]:
    """Write fig1, 3, 4 or 5 of the paper as PNG and SVG, into the first run's figures unless `out` names a file.

    `slides` are those that fig4 shows. With `partial`, runs that are not finished are drawn by what there is.

    Raises:
        ConfigError: no figure of that name, or slides for one that shows none.
        RunError: a run is not finished, or did not record what is drawn.
    """
    if name not in FIGURES:
        raise ConfigError("no figure of that name", found=name, fix=f"one of {', '.join(FIGURES)}")
    if slides and name != "fig4":
        raise ConfigError(
            f"{name} shows no slides", found=f"--slide {slides[0]}", fix="leave --slide out, or draw fig4"
        )
    path = out or runs[0].figure_file(name)
    require_writable(path.parent, called="")
    for run in runs:
        run.require_whole(partial=partial)
    named = _named(runs)
    return write_figure(_maps(named, slides) if name == "fig4" else FIGURES[name](named), path)


def _named(runs: Sequence[Run]) -> Runs:
    """Runs by what tells them apart: the stabiliser if only one has it, else model, else folder."""
    kinds = [
        ["with anchor" if run.settings.stabilize else "without anchor" for run in runs],
        [run.settings.model for run in runs],
        [run.folder.resolve().name for run in runs],
        [str(run.folder) for run in runs],
    ]
    names = next((names for names in kinds if len(set(names)) == len(runs)), kinds[-1])
    return dict(zip(names, runs, strict=True))


def _attention_by_epoch(runs: Runs) -> "Figure":
    jsd = {name: [cell.logged("jsd") for cell in run.cells()] for name, run in runs.items()}
    for name, curves in jsd.items():
        if not all(map(len, curves)):
            raise _missing(runs[name], "attention by epoch", "no jsd in the logs of its models")
    return epochs_figure(jsd, ylabel="JSD of successive epochs (nats)", log=True)


def _sharpness(runs: Runs) -> "Figure":
    weights: dict[str, list[np.ndarray]] = {}
    for name, run in runs.items():
        samples = [own for cell in run.cells() if (own := cell.score_samples())]
        if not samples:
            raise _missing(run, "online and anchor weights", "no scores: it was trained without a stabiliser")
        for key, title in (("softmax", "softmax of the model"), ("nsf", "NSF of the anchor")):
            label = title if len(runs) == 1 else f"{title}, {name}"
            weights[label] = [own[key] for own in samples]
    return weights_figure({label: np.concatenate(several) for label, several in weights.items()})


def _maps(runs: Runs, slides: Sequence[str] = ()) -> "Figure":
    """Of the slides that are named, else of the first annotated ones that all runs have tested."""
    if not slides:
        tested = [set(run.predictions["slide"]) for run in runs.values()]
        first = next(iter(runs.values()))
        common = (slide for slide in first.predictions["slide"] if all(slide in names for names in tested))
        slides = list(islice((s for s in common if any(mark is not None for mark in marks(first, s))), MAPS))
    if not slides:
        fix = "name slides by --slide; outlines are drawn of a run that was given --annotations"
        raise RunError(f"{first.folder} has no annotated slides", found="no outline to compare with", fix=fix)
    pictures: dict[str, dict[str, np.ndarray]] = {}
    for slide in slides:
        for name, run in runs.items():
            found = attention_and_tiles(run, slide) if slide in set(run.predictions["slide"]) else None
            if found is None:
                found_there = "no attention on it, or no places of its tiles"
                raise RunError(f"{run.folder} has no map of {slide}", found=found_there, fix="name a tested slide")
            maps = drawn(run, slide, found)
            own = {"slide": maps["slide"]} if "slide" in maps else {}
            pictures.setdefault(slide, own)[name] = maps["percentile"]
    if not all("slide" in several for several in pictures.values()):  # without a thumbnail there are the maps alone
        pictures = {s: {c: p for c, p in several.items() if c != "slide"} for s, several in pictures.items()}
    return maps_figure(pictures)


def _embeddings(runs: Runs) -> "Figure":
    recorded = {name: _recorded(run) for name, run in runs.items()}
    both = sorted(set.intersection(*(set(epochs) for epochs, _, _ in recorded.values())))
    shown = [both[i] for i in np.unique(np.linspace(0, len(both) - 1, PANELS).round().astype(int))]
    vectors = {
        name: values[[list(epochs).index(epoch) for epoch in shown]] for name, (epochs, values, _) in recorded.items()
    }
    return embeddings_figure(vectors, epochs=shown, labels={name: labels for name, (_, _, labels) in recorded.items()})


def _recorded(run: Run) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Epochs, embeddings and labels of the validation slides of the run's first model."""
    cell = run.cells()[0]
    found = cell.embeddings()
    if found is None:
        raise _missing(run, "embeddings by epoch", "none in its first model")
    epochs, values, slides = found
    if len(slides) < FEWEST:
        raise _missing(run, "validation slides enough for a t-SNE", f"{len(slides)} slides; {FEWEST} are the least")
    labels = cell.predictions().drop_duplicates("slide").set_index("slide")["label"]
    return epochs, values, np.array([labels[slide] for slide in slides])


def _missing(run: Run, what: str, found: str) -> RunError:
    return RunError(f"{run.folder} has no {what}", found=found, fix="train it with this version and a stabiliser")


FIGURES: dict[str, Callable[[Runs], "Figure"]] = {
    "fig1": _attention_by_epoch,
    "fig3": _sharpness,
    "fig4": _maps,
    "fig5": _embeddings,
}
