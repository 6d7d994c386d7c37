"""A run, or predictions, in the browser: slides at full depth with the attention over them, side by side."""

import os
import webbrowser
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from asmil.cli.parts import PARTIAL
from asmil.cli.parts.told import screen
from asmil.errors import as_typed

if TYPE_CHECKING:
    import numpy as np

    from asmil.deploy import Ensemble
    from asmil.runs import PredictedFolder

EVERY = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""What listens at every address of a machine is no address itself: a browser gets the one of the machine it is on."""


def view(
    run: Path = typer.Argument(help="Run folder, or a folder of `asmil predict`."),
    against: Path = typer.Option(None, help="Another run, or folder of predictions, to be shown beside it."),
    slides: Path = typer.Option(None, help="Folder of the slides, if it is not where the run found them."),
    port: int = typer.Option(None, min=0, max=65535, help="Port. [the first free one from 8765 on]"),
    host: str = typer.Option("127.0.0.1", help="Address to listen at; by default only this machine can connect."),
    browser: bool = typer.Option(True, "--browser/--no-browser", help="Open the browser."),
    partial: bool = PARTIAL,
) -> None:
    """Look at slides: what was predicted, where each model looked, where they disagree; say what is right, and draw.

    Verdicts go to verdicts.csv of the folder, a table that --labels reads, outlines to outlines/<slide>.geojson.
    """
    from asmil.errors import RunError

    if slides is not None and not slides.is_dir():
        raise RunError("there is no such folder of slides", found=slides)

    with screen().stage("open"):  # torch and the tables take their time on a busy machine
        from asmil.cli import ExitCode
        from asmil.runs import PredictedFolder, Run
        from asmil.viewer import PredictionsView, Pyramid, RunView, View, is_loopback, listen, make_app, serve

        pyramid, views, partly = Pyramid(), list[View](), False
        for folder in filter(None, (run, against)):
            predicted = PredictedFolder(folder)
            if predicted.there:
                views.append(PredictionsView(folder, slides=slides, pyramid=pyramid, evidence=evidence_of(predicted)))
            else:
                opened = Run.open(folder)
                partly |= bool(opened.require_whole(partial=partial))
                first = views[0].slides_folder if views else None
                views.append(RunView(opened, slides=slides, else_slides=first, pyramid=pyramid, partial=partial))
    bound = listen(host, port)
    number = bound.getsockname()[1]
    shown = EVERY.get(host, host)
    address = f"http://{f'[{shown}]' if ':' in shown else shown}:{number}/"

    def ready() -> None:
        _explain(address, number, local=is_loopback(host))
        if browser and "SSH_CONNECTION" not in os.environ:
            webbrowser.open(address)

    serve(make_app(views, pyramid=pyramid, hosts=[host]), bound, started=ready)
    raise typer.Exit(ExitCode.SET_ASIDE if partly else ExitCode.WHOLE)


def evidence_of(predicted: "PredictedFolder") -> "Callable[[str, Path | None], Mapping[str, np.ndarray]] | None":
    """What gives the evidence of a slide by class; its models are read when it is first asked for."""
    run, store, digest = predicted.run, predicted.store, predicted.models
    if run is None or store is None or not digest:
        return None

    @cache
    def models() -> "Ensemble":
        from asmil.deploy import load_ensemble
        from asmil.errors import RunError

        found = load_ensemble(run, partial=True)
        if found.digest != digest:
            fix = f"predict again: {as_typed('asmil', 'predict', run)}"
            raise RunError("the run has other models now than those that predicted", found=run, fix=fix)
        return found

    return lambda slide, file: models().evidence(store.load(slide), slide_file=file)


def _explain(address: str, port: int, *, local: bool) -> None:
    typer.echo(f"viewer: {address}   (ctrl-C ends it)")
    if not local:
        where = f"at http://ITS-IP-ADDRESS:{port}/; verdicts and outlines are taken from this machine alone"
        text = f"everybody who can reach this machine can look at these slides, {where}"
        typer.secho(text, fg=typer.colors.YELLOW, err=True)
    elif "SSH_CONNECTION" in os.environ:
        typer.echo(
            f"from your own machine: ssh -N -L {port}:127.0.0.1:{port} {os.uname().nodename}, then the same address"
        )
