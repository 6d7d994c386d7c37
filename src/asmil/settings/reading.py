"""Settings read from YAML, flags or keywords, every mistake shown where it was made, and written back."""

import difflib
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from asmil.errors import ConfigError
from asmil.files import write_text
from asmil.settings.marked_yaml import KEY, Location, MarkedYaml, Mistake, dump_yaml
from asmil.settings.settings import Settings

ENDED = {
    "together": "the seeds of a fold always train together, and workers take folds: no number depends on it any more",
}
"""Settings that there are no more, and why. The run folders that hold them open: they decided nothing that is read."""

SHOWN = 20
"""Problems that are shown with a near name; a table given as settings has thousands."""


def load_settings(
    path: str | Path | None = None,
    given: Mapping[str, object] | None = None,
    *,
    saved: bool = False,
    flags: bool = True,
) -> Settings:
    """Settings from a YAML file and, over them, what was given by name; what is None was not given.

    Args:
        path: the file; None: none.
        saved: the file is one that asmil wrote into a run, perhaps long ago: settings that have ended are dropped.
        flags: what was given are flags of the command line; else they are keywords of Python. Only mistakes show it.

    Raises:
        ConfigError: every problem at once, those of the file with file:line:column, the line and a near name.
    """
    source = MarkedYaml(Path(path)) if path else None
    typed = {key: value for key, value in (given or {}).items() if value is not None}
    values = {**(source.values if source else {}), **typed}
    if saved:
        values = {key: value for key, value in values.items() if key not in ENDED or key in typed}
    problems = list(source.problems) if source else []
    try:
        settings = Settings(**values)
    except ValidationError as error:
        problems += _mistakes(error)
    except TypeError as error:  # a keyword that is no text
        raise ConfigError("settings are given by name", found=error) from error
    if not problems:
        return settings
    first = _in_file_order(problems, source)[:SHOWN]
    shown = [_shown(problem, source, typed=typed, flags=flags) for problem in first]
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    raise ConfigError("\n".join([*shown, f"{count} in the settings; `asmil run --help` lists them all."]))


def changed(settings: Settings, given: Mapping[str, object], *, flags: bool = False) -> Settings:
    """The settings with some of them replaced, all checked again; `flags` as for `load_settings`.

    Raises:
        ConfigError: as `load_settings`.
    """
    kept = {name: getattr(settings, name) for name in settings.model_fields_set}
    return load_settings(None, kept | {n: value for n, value in given.items() if value is not None}, flags=flags)


def dump_settings(settings: Settings, path: str | Path) -> None:
    """Write all settings, defaults included, as YAML that loads back equal; atomically."""
    write_text(path, dump_yaml(settings.model_dump(mode="json")))


def ended(name: str) -> str | None:
    """Why there is no such setting any more; None for one that there never was."""
    why = ENDED.get(name)
    return None if why is None else f"{name!r} has ended: {why}; leave it out"


def _mistakes(error: ValidationError) -> list[Mistake]:
    """One problem per place; the alternatives of a union are joined."""
    texts: dict[Location, list[str]] = {}
    for one in error.errors():
        location = one["loc"]
        name = str(location[0]) if location else ""
        if one["type"] == "extra_forbidden":
            texts[(KEY, name)] = [ended(name) or _unknown(name, hint=len(texts) < SHOWN)]
            continue
        # (name, 1) is a place in the file; "int" in (name, "int") only says which branch of a union failed
        place = tuple(part for i, part in enumerate(location) if i == 0 or isinstance(part, int))
        text = one["msg"].removeprefix("Value error, ")
        texts.setdefault(place, []).append(f"{name}: {text}, found {one['input']!r}" if name else text)
    return [Mistake(_joined(alternatives), location=place) for place, alternatives in texts.items()]


def _unknown(name: str, *, hint: bool) -> str:
    near = difflib.get_close_matches(name.replace("-", "_"), Settings.model_fields, n=1) if hint else []
    return f"unknown key {name!r}{f'; did you mean {near[0]!r}?' if near else ''}"


def _joined(texts: list[str]) -> str:
    head, found, tail = texts[0].rpartition(", found")
    others = [text.partition("Input should be ")[2].rpartition(", found")[0] for text in texts[1:]]
    return head + "".join(f" or {other}" for other in others if other) + found + tail


def _in_file_order(problems: list[Mistake], source: MarkedYaml | None) -> list[Mistake]:
    def line(problem: Mistake) -> tuple[float, int]:
        mark = source.mark(problem) if source else None
        return (mark.line, mark.column) if mark else (float("inf"), 0)

    return sorted(problems, key=line)


def _shown(problem: Mistake, source: MarkedYaml | None, *, typed: Mapping[str, object], flags: bool) -> str:
    name = next((part for part in problem.location if part != KEY), None)
    if name in typed:
        text = problem.text.removeprefix(f"{name}: ")
        return f"--{str(name).replace('_', '-')}: {text}" if flags else f"{name}: {text}"
    return source.show(problem) if source else problem.text
