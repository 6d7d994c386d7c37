"""Settings read from YAML, flags or keywords, every mistake shown where it was made, and written back."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import ValidationError

from asmil.errors import ConfigError, did_you_mean
from asmil.files import Facts, path_of, write_text
from asmil.settings.settings import ABOUT, Group, Settings

# YAML read with the place of every key and value, so that a mistake can be shown where it was made.

MOST_VALUES = 20_000
"""Values in a file of settings: aliases of aliases make millions of a few hundred bytes."""

MOST_CHARACTERS = 1 << 17
"""Of a file of settings: what is longer is something else, and would be read for minutes."""

SHOWN_CHARACTERS = 120
"""Of the line of a mistake, around its place."""

Location = tuple[str | int, ...]
"""Keys and list positions from the top of a file to a value."""

KEY = "<key>"
"""First part of the location of a key itself: (KEY, "name")."""

_FLOAT = r"(?!0[0-9]+$)[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan"  # 01 is a class's name
_PLAIN_SCALARS = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9]*)", list("-+0123456789")),
    ("float", _FLOAT, list("-+.0123456789")),
)


_YAML = "give a YAML file of settings, in UTF-8"


class _Loader(yaml.SafeLoader):
    """YAML 1.2's plain scalars: 2e-4 is a number, `no` and `2026-01-01` are text."""


class _Dumper(yaml.SafeDumper):
    """Quotes every text that YAML 1.1 or 1.2 would read as something else."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in _PLAIN_SCALARS:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _first)


class Mistake(NamedTuple):
    """What is wrong, and where: at a place of the file, or with a setting."""

    text: str
    mark: yaml.Mark | None = None
    location: Location = ()


def dump_yaml(values: dict[str, object]) -> str:
    """YAML text, keys in the given order, that `MarkedYaml` reads back equal."""
    text = yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    if not any(c in text for c in "\x85\u2028\u2029"):
        return text
    # PyYAML writes these line ends of other alphabets as they are and reads them back as spaces: escape everything.
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=False)


def read_value(text: str) -> object:
    """A single value as it would be read in a file: `1e-6` is a number, `no` is text."""
    return yaml.load(text, _Loader)


class MarkedYaml:
    """A YAML file of `key: value` lines, walked once.

    `values` are the settings; `problems` are syntax errors, keys given twice and keys that are not words.

    Raises:
        ConfigError: the file is missing or not text.
    """

    def __init__(self, path: Path):
        self.path = path
        self.values: Facts = {}
        self.problems: list[Mistake] = []
        self.marks: dict[Location, yaml.Mark] = {}
        try:
            with path.open(encoding="utf-8-sig") as file:
                self.text = file.read(MOST_CHARACTERS + 1)
        except FileNotFoundError:
            raise ConfigError("the configuration file does not exist", found=path, fix="check the path") from None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read {path}", found=error, fix=_YAML) from error
        if len(self.text) > MOST_CHARACTERS:
            raise ConfigError(
                f"{path} is too long for settings", found=f"over {MOST_CHARACTERS:,} characters", fix=_YAML
            )
        self._walked = 0
        try:
            self._loader = _Loader(self.text)
            self._read(self._loader.get_single_node())
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self.problems.append(Mistake(f"this is not YAML: {error.problem or error.context}", mark))
        except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as error:
            # the last three: what PyYAML makes of `!!int ""`, `!!timestamp x` and thousands of brackets
            raise ConfigError(f"{path} is not YAML", found=error, fix="give a YAML file of settings") from error

    def _read(self, node: yaml.Node | None) -> None:
        if isinstance(node, yaml.MappingNode):
            self.values = self._walk(node, (), parents=())
        elif node is not None and node.tag != "tag:yaml.org,2002:null":
            self.problems.append(Mistake("a configuration is a list of `key: value` lines", node.start_mark))

    def _walk(self, node: yaml.Node, location: Location, *, parents: tuple[int, ...]) -> Any:
        if id(node) in parents:
            raise yaml.MarkedYAMLError(problem="this value contains itself", problem_mark=node.start_mark)
        parents = (*parents, id(node))
        self._walked += 1
        if self._walked > MOST_VALUES:
            raise yaml.MarkedYAMLError(problem=f"more than {MOST_VALUES} values", problem_mark=node.start_mark)
        self.marks.setdefault(location, node.start_mark)
        if isinstance(node, yaml.SequenceNode):
            return [self._walk(item, (*location, i), parents=parents) for i, item in enumerate(node.value)]
        if not isinstance(node, yaml.MappingNode):
            return self._loader.construct_object(node)
        values: Facts = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is None or key in values:
                text = "a key must be a word" if key is None else f"{key!r} is given twice"
                self.problems.append(Mistake(text, key_node.start_mark))
                continue
            self.marks[(KEY, *location, key)] = key_node.start_mark
            values[key] = self._walk(value_node, (*location, key), parents=parents)
        return values

    def mark(self, problem: Mistake) -> yaml.Mark | None:
        """The place of a problem: its mark, or that of the deepest known part of its location."""
        if problem.mark:
            return problem.mark
        location = problem.location
        while location and location not in self.marks:
            location = location[:-1]
        return self.marks.get(location) if location else None

    def show(self, problem: Mistake) -> str:
        """`file:line:column: text`, the line, and a caret under the place."""
        mark = self.mark(problem)
        if mark is None:
            return problem.text
        lines = self.text.splitlines()
        line = lines[mark.line] if mark.line < len(lines) else ""
        start = max(0, mark.column - SHOWN_CHARACTERS // 2) if len(line) > SHOWN_CHARACTERS else 0
        line = line[start : start + SHOWN_CHARACTERS]
        number = str(mark.line + 1)
        indent = "".join("\t" if c == "\t" else " " for c in line[: mark.column - start])
        head = f"{self.path}:{number}:{mark.column + 1}: {problem.text}"
        return f"{head}\n  {number} | {line}\n  {' ' * len(number)} | {indent}^"


ENDED = {
    "together": "the seeds of a fold always train together, and workers take folds: no number depends on it any more",
}
"""Settings that there are no more, and why. The run folders that hold them open: they decided nothing that is read."""

BEFORE: Facts = {"min_steps": 0, "restarts": 0, "anchor_gated": False}
"""What runs were made with that do not name these settings, which are younger than they."""

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
    if isinstance(path, Mapping):
        raise ConfigError("settings are given by name, or as a file", found=f"{path!r:.80}", fix="run(**settings)")
    source = None if path is None else MarkedYaml(path_of(path, "a file of settings"))
    typed = {key: _plain(value) for key, value in (given or {}).items() if value is not None}
    values = {**(source.values if source else {}), **typed}
    if saved:
        values = {key: value for key, value in values.items() if key not in ENDED or key in typed}
        values = (BEFORE if source and source.values else {}) | values
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


def _plain(value: object) -> object:
    """Numbers and arrays of NumPy and pandas as Python's, in options too: files of settings hold no others."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value.tolist() if hasattr(value, "dtype") and hasattr(value, "tolist") else value


def changed(settings: Settings, given: Mapping[str, object], *, flags: bool = False) -> Settings:
    """The settings with some of them replaced, all checked again; `flags` as for `load_settings`.

    Raises:
        ConfigError: as `load_settings`.
    """
    kept = {name: getattr(settings, name) for name in settings.model_fields_set}
    return load_settings(None, kept | {n: value for n, value in given.items() if value is not None}, flags=flags)


def yaml_of(settings: Settings) -> str:
    """All settings, defaults included, as YAML that loads back equal."""
    return dump_yaml(settings.model_dump(mode="json"))


def dump_settings(settings: Settings, path: str | Path) -> None:
    """Write `yaml_of` the settings; atomically."""
    write_text(path, yaml_of(settings))


def commented_settings() -> str:
    """A YAML file to fill in: every setting's sentence, type, unit and, behind one "#", its default, by groups.

    The defaults are comments because a setting that is given goes before a preset's; without their "#" they load back
    equal.
    """
    kinds, values = Settings.model_json_schema()["properties"], Settings().model_dump(mode="json")
    text = ["# Settings of asmil. To change one, take the # before its name away and write your value.\n"]
    for group in Group:
        text.append(f"\n# ---- {group} ----\n")
        for about in (about for about in ABOUT.values() if about.group is group):
            facts = "; ".join(filter(None, (_kind(kinds[about.name]), about.unit)))
            text.append(f"\n# {about.sentence} ({facts})\n#{dump_yaml({about.name: values[about.name]})}")
    return "".join(text)


_LIMITS = {
    "minimum": "at least",
    "exclusiveMinimum": "more than",
    "maximum": "at most",
    "exclusiveMaximum": "less than",
    "minItems": "of at least",
}


def _kind(schema: Facts) -> str:
    """What a value is, in words, off its JSON schema."""
    if "anyOf" in schema:
        return " or ".join(map(_kind, schema["anyOf"]))
    if "const" in schema or "enum" in schema:
        return " | ".join(schema.get("enum") or [schema["const"]])
    kind = "path" if schema.get("format") == "path" else schema["type"]
    if kind == "array":
        kind = f"list of {_kind(schema['items'])}"
    words = {"string": "text", "boolean": "true | false", "object": "options, name: value"}
    return ", ".join(
        [words.get(kind, kind), *(f"{said} {schema[key]}" for key, said in _LIMITS.items() if key in schema)]
    )


class Described(NamedTuple):
    """A setting of a run as a page shows it."""

    name: str
    value: object
    unit: str
    sentence: str
    group: Group
    is_default: bool

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show."""
        return self.value in (None, "", [], {})


def described(settings: Settings) -> list[Described]:
    """Every setting with its value, unit and sentence, for cards and reports; paths are text, 0 processes are auto."""
    values = settings.model_dump(mode="json")
    units = {name: about.unit for name, about in ABOUT.items()}
    for name in [name for name, unit in units.items() if unit == "processes" and not values[name]]:
        values[name], units[name] = "auto", ""
    return [
        Described(name, values[name], units[name], a.sentence, a.group, a.is_default(getattr(settings, name)))
        for name, a in ABOUT.items()
    ]


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
        text = one["msg"].removeprefix("Value error, ").removesuffix(" for <class 'pathlib.Path'>")
        texts.setdefault(place, []).append(f"{name}: {text}, found {one['input']!r}" if name else text)
    return [Mistake(_joined(alternatives), location=place) for place, alternatives in texts.items()]


def _unknown(name: str, *, hint: bool) -> str:
    question = did_you_mean(name, Settings.model_fields) if hint else ""
    return f"unknown key {name!r}" + (question and f"; {question}")


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
