"""A run in the browser: slides at full depth with the attention over them, epoch by epoch, side by side."""

import ipaddress
import os
import webbrowser
from pathlib import Path

import typer

from asmil.cli.parts import PARTIAL


def view(
    run: Path = typer.Argument(help="Run folder."),
    against: Path = typer.Option(None, help="Another run, to be shown beside it."),
    slides: Path = typer.Option(None, help="Folder of the slides, if it is not where the run found them."),
    port: int = typer.Option(None, min=0, max=65535, help="Port. [the first free one from 8765 on]"),
    host: str = typer.Option("127.0.0.1", help="Address to listen at; by default only this machine can connect."),
    browser: bool = typer.Option(True, "--browser/--no-browser", help="Open the browser."),
    partial: bool = PARTIAL,
) -> None:
    """Look at a run: its slides, where each model looked, how the attention settled, where the seeds disagree."""
    from asmil.errors import RunError

    if slides is not None and not slides.is_dir():
        raise RunError("there is no such folder of slides", found=slides)

    from asmil.cli import ExitCode
    from asmil.runs import Run
    from asmil.viewer import Pyramid, RunView, listen, make_app, serve

    both = [Run.open(folder) for folder in (run, against) if folder is not None]
    lacking = [one.require_whole(partial=partial) for one in both]
    pyramid = Pyramid()
    views = [RunView(both[0], slides=slides, pyramid=pyramid, partial=partial)]
    if against is not None:
        first = views[0].slides_folder
        views.append(RunView(both[1], slides=slides, else_slides=first, pyramid=pyramid, partial=partial))
    bound = listen(host, port)
    number = bound.getsockname()[1]
    address = f"http://{f'[{host}]' if ':' in host else host}:{number}/"
    _explain(address, number, local=_only_here(host))

    def opened() -> None:
        if browser and "SSH_CONNECTION" not in os.environ:
            webbrowser.open(address)

    serve(make_app(views, pyramid=pyramid, hosts=[host]), bound, started=opened)
    raise typer.Exit(ExitCode.SET_ASIDE if any(lacking) else ExitCode.WHOLE)


def _only_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _explain(address: str, port: int, *, local: bool) -> None:
    typer.echo(f"viewer: {address}   (ctrl-C ends it)")
    if not local:
        typer.secho("everybody who can reach this machine can look at these slides", fg=typer.colors.YELLOW, err=True)
    elif "SSH_CONNECTION" in os.environ:
        typer.echo(
            f"from your own machine: ssh -N -L {port}:127.0.0.1:{port} {os.uname().nodename}, then the same address"
        )
