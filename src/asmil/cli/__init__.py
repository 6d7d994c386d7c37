"""The `asmil` command: one file per command, imported only when it is used."""

import ast
import importlib
import sys
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from asmil.errors import AsmilError

EXIT_FAILED, EXIT_ERROR, EXIT_INTERRUPTED = 1, 2, 130
"""Some slides failed; the command could not do its work; ctrl-C."""


def command_summaries() -> dict[str, str]:
    """Every command and its one-line help: the files of this folder and the first line of their docstrings.

    Nothing is imported. An underscore in a file name is a dash on the command line.
    """
    files = sorted(file for file in Path(__file__).parent.glob("*.py") if not file.name.startswith("_"))
    return {file.stem.replace("_", "-"): _first_line(file) for file in files}


def _first_line(file: Path) -> str:
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0]


def _load(name: str) -> Any:
    """The real command: function `<name>` of `cli/<name>.py` with its options."""
    stem = name.replace("-", "_")
    function = getattr(importlib.import_module(f"asmil.cli.{stem}"), stem)
    single = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    single.command(name=name)(function)
    return typer.main.get_command(single)


class CommandGroup(TyperGroup):
    """Lists commands from stubs and swaps in the real one when it is called or its help is shown."""

    def __init__(self, **options: Any):
        options["commands"] = {
            name: TyperCommand(name, help=summary, short_help=summary) for name, summary in command_summaries().items()
        }
        super().__init__(**options)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, stub, rest = super().resolve_command(ctx, args)
        return name, _load(name) if name and stub else stub, rest

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except AsmilError as error:
            print_error(error)
            raise typer.Exit(EXIT_ERROR) from error
        except KeyboardInterrupt:
            typer.echo("\ninterrupted: finished files are kept, the same command goes on from them", err=True)
            raise typer.Exit(EXIT_INTERRUPTED) from None


def print_error(error: AsmilError) -> None:
    """Print what went wrong, what was found and the fix to stderr, one line each."""
    typer.secho("error: ", fg=typer.colors.RED, bold=True, err=True, nl=False)
    typer.echo(error.what, err=True)
    if error.found is not None:
        typer.echo(f"found: {error.found}", err=True)
    if error.fix:
        typer.echo(f"fix:   {error.fix}", err=True)


app = typer.Typer(
    cls=CommandGroup,
    name="asmil",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"asmil {version('asmil')}")
        raise typer.Exit


@app.callback()
def _asmil(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),
) -> None:
    """Attention-stabilised multiple-instance learning on whole-slide images.

    The usual way: `asmil check`, then `asmil run`. Each step is also a command of its own.
    """


def main() -> None:
    """Entry point of the `asmil` script."""
    for stream in (
        sys.stdout,
        sys.stderr,
    ):  # a slide name outside the terminal's code page must not end a run
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:
            reconfigure(errors="replace")
    app()
