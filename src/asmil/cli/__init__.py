"""The `asmil` command: one file per command, imported only when it is used."""

import importlib
import os
import signal
import sys
import threading
from enum import IntEnum
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

import typer
from typer.core import TyperCommand, TyperGroup

from asmil.errors import AsmilError, ConfigError, as_typed

if TYPE_CHECKING:
    from asmil.files import Facts
    from asmil.progress import Outcome


class ExitCode(IntEnum):
    """How a command ended, for schedulers and scripts; docs/cli.md has the same table."""

    WHOLE = 0
    SET_ASIDE = 1
    WRONG = 2
    FAULT = 3
    INTERRUPTED = 128 + signal.SIGINT
    TERMINATED = 128 + signal.SIGTERM


MEANING = {
    ExitCode.WHOLE: "all was done",
    ExitCode.SET_ASIDE: "done, but something was set aside: slides or annotations that cannot be used, or models that "
    "are missing in a partial look; of `check` and `bench`: something was found",
    ExitCode.WRONG: "not done: a wrong flag, setting, file or folder, nothing that could be predicted, converted or "
    "embedded, a machine without what it needs, or a training that diverged",
    ExitCode.FAULT: "not done: a fault of asmil, please report it",
    ExitCode.INTERRUPTED: "interrupted by ctrl-C (`view`, whose end it is: 0)",
    ExitCode.TERMINATED: "ended by SIGTERM, as schedulers do",
}

CALLED = {
    **dict.fromkeys(("train", "fit", "cross-validate", "cv"), "crossval"),
    **dict.fromkeys(("extract", "features", "tile", "patch", "encode"), "embed"),
    **dict.fromkeys(("test", "eval", "score", "metrics"), "evaluate"),
    **dict.fromkeys(("infer", "inference", "apply"), "predict"),
    **dict.fromkeys(("viewer", "serve", "show"), "view"),
    **dict.fromkeys(("segment", "mask"), "tissue"),
    **dict.fromkeys(("attention", "maps"), "heatmap"),
    **dict.fromkeys(("models", "encoders"), "list"),
    **dict.fromkeys(("onnx", "card"), "export"),
}
"""Commands as other programs call them, and ours."""

GO_ON = ("crossval", "demo", "embed", "embed-slides", "predict", "run", "study")
"""Commands that take up what they had finished when they are given again; the others begin anew."""


class Terminated(BaseException):
    """SIGTERM came: what is in work is left in order, as with ctrl-C."""


def exit_with(outcome: "Outcome | None", *, metrics: "Facts | None" = None) -> NoReturn:
    """End a command by what became of its slides; the metrics are the first to know, for --json."""
    from asmil.cli.parts.told import remember

    remember(outcome, metrics=metrics)
    raise typer.Exit(ExitCode.WHOLE if outcome is None or outcome.whole else ExitCode.SET_ASIDE)


def command_summaries() -> dict[str, str]:
    """Every command and its one-line help: the files of this folder and the first line of their docstrings.

    Nothing is imported. An underscore in a file name is a dash on the command line.
    """
    files = sorted(file for file in Path(__file__).parent.glob("*.py") if not file.name.startswith("_"))
    return {file.stem.replace("_", "-"): _first_line(file) for file in files}


def _first_line(file: Path) -> str:
    with file.open(encoding="utf-8") as lines:  # a docstring begins with one line that says it all, as tests hold
        return lines.readline().strip('"\n')


def _load(name: str) -> Any:
    """The real command: function `<name>` of `cli/<name>.py` with its options."""
    from asmil.cli.parts.told import WITHOUT, add_flags

    stem = name.replace("-", "_")
    function = getattr(importlib.import_module(f"asmil.cli.{stem}"), stem)
    single = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    single.command(name=name)(function)
    command = cast(TyperCommand, typer.main.get_command(single))
    if name not in WITHOUT:
        add_flags(command)
    return command


class CommandGroup(TyperGroup):
    """Lists commands from stubs and swaps in the real one when it is called or its help is shown."""

    def __init__(self, **options: Any):
        options["commands"] = {
            name: TyperCommand(name, help=summary, short_help=summary) for name, summary in command_summaries().items()
        }
        super().__init__(**options)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] in CALLED:
            ctx.fail(f"No such command {args[0]!r}. What you look for is called {CALLED[args[0]]!r}.")
        name, stub, rest = super().resolve_command(ctx, args)
        for before, arg in pairwise(["", *rest]):
            if not arg.strip() or (arg.startswith("--") and arg.endswith("=")):
                given = arg.rstrip("= ") or (before if before.startswith("-") else "an argument")
                ctx.fail(f"{given} is empty, as of a shell's variable that is not set.")
        return name, _load(name) if name and stub else stub, rest

    def invoke(self, ctx: Any) -> object:
        from asmil.cli.parts.told import telling

        with telling(ctx):
            try:
                return super().invoke(ctx)
            except (KeyboardInterrupt, Terminated) as stop:
                code = ExitCode.TERMINATED if isinstance(stop, Terminated) else ExitCode.INTERRUPTED
                typer.echo(f"\n{code.name.lower()}: {_how_to_go_on(ctx.invoked_subcommand or '')}", err=True)
                raise typer.Exit(code) from None
            except Exception as error:
                raise typer.Exit(_explain(error, ctx.invoked_subcommand or "")) from error


def _how_to_go_on(command: str) -> str:
    kept = "what is finished is kept, and the same command goes on from there"
    anew = "nothing half-written is left, and the same command begins anew"
    return f"{kept if command in GO_ON else anew}:\n  {as_typed('asmil', *sys.argv[1:])}"


def _explain(error: Exception, command: str) -> ExitCode:
    """Say what went wrong; whatever is no error of the user's, the files' or the machine's is a fault of ours.

    Raises:
        Exception: it is the parser's, or means the end of the command, as it is.
    """
    if type(error).__module__.partition(".")[0] in ("typer", "click") or isinstance(error, BrokenPipeError):
        option = getattr(error, "option_name", None)
        if not (option and _say_ended(option)):
            raise error
    elif isinstance(error, AsmilError):
        print_error(error)
    elif isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        fix = "fewer --workers, a smaller --batch-size or --tile-batch, or --tiles-per-bag"
        print_error(AsmilError("out of memory", found=error, fix=fix))
    elif isinstance(error, OSError):
        fix = f"check the disk, and who may write; {_how_to_go_on(command)}"
        print_error(AsmilError("a file or folder cannot be used", found=error, fix=fix))
    elif file := _code_of_yours(error):
        found, fix = (
            f"{type(error).__name__}: {error}",
            "asmil --traceback shows where; asmil.testing.check_model tries it",
        )
        print_error(ConfigError(f"your code in {file} failed", found=found, fix=fix))
    else:
        _print_fault(error)
        return ExitCode.FAULT
    if os.environ.get("ASMIL_TRACEBACK"):
        _print_traceback(error)
    return ExitCode.WRONG


def _code_of_yours(error: Exception) -> str:
    """The file of a person's own model in which something was raised, also in another process; else empty."""
    import traceback

    from asmil.machine import trusted

    text = "".join(traceback.format_exception(error))
    return next((file for file in trusted() if file.endswith(".py") and f'File "{file}"' in text), "")


def _say_ended(option: str) -> bool:
    """Print why there is no such option any more; False where there never was."""
    from asmil.settings import ended

    text = ended(option.lstrip("-").replace("-", "_").removeprefix("no_"))
    if text:
        print_error(ConfigError(f"{option}: {text}"))
    return bool(text)


def print_error(error: AsmilError) -> None:
    """Print what went wrong, what was found and the fix to stderr, one line each."""
    typer.secho("error: ", fg=typer.colors.RED, bold=True, err=True, nl=False)
    typer.echo(error.what, err=True)
    if error.found is not None:
        typer.echo(f"found: {error.found}", err=True)
    if error.fix:
        typer.echo(f"fix:   {error.fix}", err=True)


def _print_fault(error: Exception) -> None:
    """A short message, and the traceback in a file; on the screen with --traceback."""
    import tempfile
    import traceback

    if os.environ.get("ASMIL_TRACEBACK"):
        _print_traceback(error)
        where = "the traceback above"
    else:
        with tempfile.NamedTemporaryFile("w", prefix="asmil-fault-", suffix=".txt", delete=False) as file:
            file.write(f"{as_typed('asmil', *sys.argv[1:])}\n\n")
            traceback.print_exception(error, file=file)
        where = f"{file.name} (it names files of yours)"
    typer.secho("fault: ", fg=typer.colors.RED, bold=True, err=True, nl=False)
    typer.echo(f"asmil did not expect this: {type(error).__name__}: {error}", err=True)
    typer.echo(f"fix:   report it, with {where} and what `asmil doctor` says", err=True)


def _print_traceback(error: Exception) -> None:
    import traceback

    traceback.print_exception(error, file=sys.stderr)


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


def _set_traceback(wanted: bool) -> None:
    if wanted:
        os.environ["ASMIL_TRACEBACK"] = "1"


@app.callback()
def _asmil(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),
    traceback: bool = typer.Option(
        False, "--traceback", callback=_set_traceback, help="Show where in the code an error arose (ASMIL_TRACEBACK=1)."
    ),
) -> None:
    """Attention-stabilised multiple-instance learning on whole-slide images.

    The usual way: `asmil check`, then `asmil run`. Each step is also a command of its own.
    """


def _terminate(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # who asks again will not be waited with
    raise Terminated


def _repeat_what_was_dropped(dropped: "sys.UnraisableHookArgs") -> None:
    """Ask to end again, a moment later: Python drops what is raised in a finalizer or a weak reference's callback."""
    if not issubclass(dropped.exc_type, Terminated | KeyboardInterrupt):
        sys.__unraisablehook__(dropped)
        return
    if terminated := issubclass(dropped.exc_type, Terminated):
        signal.signal(signal.SIGTERM, _terminate)
    again = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM if terminated else signal.SIGINT))
    again.daemon = True
    again.start()


def main() -> None:
    """Entry point of the `asmil` script."""
    for stream in (sys.stdout, sys.stderr):  # a slide name outside the terminal's code page must not end a run
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:
            reconfigure(errors="replace")
    # Else threads of torch that wait for work keep their cores busy: three times the time where bags are small.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    signal.signal(signal.SIGTERM, _terminate)
    sys.unraisablehook = _repeat_what_was_dropped
    try:
        app()
    finally:  # what was asked for has ended and its exit code is known, but the interpreter takes a moment to leave
        for stop in (signal.SIGTERM, signal.SIGINT):
            signal.signal(stop, signal.SIG_IGN)
