"""Command-line options from the settings: a command names groups of them, everything else is said where they are."""

import inspect
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Annotated, TypeVar, get_origin

import typer

from asmil.files import Facts
from asmil.settings import ABOUT, Group, Settings, kinds_of

Command = TypeVar("Command", bound=Callable[..., None])
PARTIAL = typer.Option(False, "--partial", help="Also of a run that is not finished: a partial look (exit code 1).")
PRINT_CONFIG = typer.Option(False, "--print-config", help="Print the settings that would be used, as YAML, and end.")


def with_settings(*chosen: Group | str, without: Collection[str] = ()) -> Callable[[Command], Command]:
    """Give a command an option for each setting of the chosen groups and names; they arrive as keyword arguments.

    Defaults are shown in the help and stay None when not given, so that only what was typed overrides a YAML file.
    """
    groups = [one for one in chosen if isinstance(one, Group)]  # "labels" is a group and a setting
    named = {one for one in chosen if not isinstance(one, Group)}
    names = [name for name, a in ABOUT.items() if (name in named or a.group in groups) and name not in without]

    def decorate(function: Command) -> Command:
        own = [
            p for p in inspect.signature(function).parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        parameters = own + [_parameter(name) for name in names]
        signature = inspect.Signature(parameters)
        function.__signature__ = signature  # type: ignore[attr-defined]
        function.__annotations__ = {p.name: p.annotation for p in parameters}
        return function

    return decorate


def _parameter(name: str) -> inspect.Parameter:
    default, sentence = ABOUT[name].default, ABOUT[name].sentence
    shown = None if default in (None, [], {}) else str(default).lower() if isinstance(default, bool) else str(default)
    flag = _flag(name)
    if isinstance(default, bool):
        flag = f"{flag}/--no-{name.replace('_', '-')}"
    option = typer.Option(flag, help=sentence + (f" [{shown}]" if shown else ""), show_default=False)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[_type(name), option]
    )


def _flag(name: str) -> str:
    """`--tile-px`; of options of a part, of which each is typed for itself, `--model-option`."""
    flag = f"--{name.replace('_', '-')}"
    return flag.removesuffix("s") if _is_pairs(name) else flag


def _is_pairs(name: str) -> bool:
    """Whether a setting is typed as name=value, again and again."""
    return get_origin(Settings.model_fields[name].annotation) is dict


def _type(name: str) -> object:
    """What typer reads: lists by repeating the flag or, where the setting takes them, with commas; seeds as a count."""
    annotation, commas = Settings.model_fields[name].annotation, ABOUT[name].commas
    if (_is_pairs(name) or get_origin(annotation) is list) and not commas:
        return list[str] | None
    kinds = [] if commas else kinds_of(annotation)
    return next((kind | None for kind in (bool, int, float, Path) if kind in kinds), str | None)


def settings_from(flags: dict[str, object], config: Path | None = None, *, show: bool = False) -> Settings:
    """The settings of a YAML file, if there is one, and over them what was typed; with `show` printed, and the end.

    Raises:
        ConfigError: every mistake at once.
    """
    from asmil.cli.parts.told import remember
    from asmil.settings import load_settings, yaml_of

    settings = load_settings(config, typed(flags))
    if show:
        typer.echo(yaml_of(settings), nl=False)
        remember(settings=settings.model_dump(mode="json"))
        raise typer.Exit
    return settings


def typed(settings: Facts) -> dict[str, object]:
    """What was typed, ready for `load_settings`: None left out, `name=value` options read as YAML values."""
    from asmil.errors import ConfigError
    from asmil.settings import read_value

    values = {k: v for k, v in settings.items() if v is not None and v != []}
    for setting in filter(_is_pairs, values):
        flag, part = _flag(setting), setting.removesuffix("_options")
        pairs = [text.partition("=") for text in values[setting]]
        wrong = [f"{n}{s}{v}" for n, s, v in pairs if not (n and s)]
        if wrong:
            raise ConfigError(f"a {part} option is name=value", found=", ".join(wrong), fix=f"{flag} name=value")
        values[setting] = {n.strip().replace("-", "_"): read_value(v) for n, _, v in pairs}
    return values
