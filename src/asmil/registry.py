"""Parts by name: files of a folder, entry points of installed packages, or registered functions; lazy doors."""

import ast
import importlib
import importlib.util
import inspect
import pkgutil
import sys
import warnings
from collections.abc import Callable, Iterable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from numbers import Integral, Real
from pathlib import Path
from types import ModuleType, NoneType, UnionType
from typing import Any, TypeVar, get_args

from asmil.errors import AsmilError, ConfigError, PartError, UnknownPartError, blaming, did_you_mean, require_kind
from asmil.files import Facts

T = TypeVar("T")


def _key(name: str) -> str:
    require_kind(name, str, called="the name of a part", fix="give a text; `asmil list` has the names")
    return name.replace("-", "_").lower()


def _unknown(kind: str, name: str, known: Iterable[str]) -> UnknownPartError:
    known = sorted(known)
    fix = f"{did_you_mean(_key(name), known)} known: {', '.join(known)}"
    return UnknownPartError(f"there is no {kind} {name!r}", fix=fix.strip())


GROUPS = ("asmil.models", "asmil.encoders", "asmil.readers", "asmil.formats")
"""Groups of entry points by which other packages offer parts (docs/own_parts.md: As a package)."""


@cache
def _offered(group: str, path: tuple[str, ...]) -> dict[str, list[EntryPoint]]:
    """What the packages on a path offer in a group, by name. Their metadata are read, and nothing is imported."""
    found: dict[str, list[EntryPoint]] = {}
    for point in _points(path)[group]:
        found.setdefault(_key(point.name), []).append(point)
    return found


@cache
def _points(path: tuple[str, ...]) -> dict[str, list[EntryPoint]]:
    """The entry points of all our groups, in one look at the metadata of what is installed."""
    points = entry_points()
    return {group: sorted(points.select(group=group), key=package_of) for group in GROUPS}


def package_of(point: EntryPoint) -> str:
    """Name and version of the package that offers a part."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else "a package without a name"


def offering_packages() -> dict[str, str]:
    """The versions of the installed packages that offer a part, by their names."""
    points = [p for group in GROUPS for several in _offered(group, tuple(sys.path)).values() for p in several]
    return {point.dist.name: point.dist.version for point in points if point.dist}


class FolderRegistry:
    """Parts that live one per file in a package; the file's name is the part's name.

    Each file exposes its part under `attribute` (for example `MODEL = ABMIL`). Listing reads file names only, so
    it imports nothing. Dashes and underscores are the same in names. Folders within hold what parts share.
    `rows` are further parts by name, of a table: each says in `about` what it is. Parts that are called take the
    arguments `given`, and options of their own. `other` gives parts of elsewhere by name, or None.

    Installed packages offer parts by entry points of `group`, which name a module with `attribute`, or the part itself.
    One is imported when it is asked for, and `taken` (name, what it gives) makes the part of it or refuses it. A name
    that asmil has stays asmil's, and one that two packages offer is nobody's: `conflicts` says so.
    """

    def __init__(
        self,
        kind: str,
        package: str,
        attribute: str,
        *,
        rows: Facts | None = None,
        given: tuple[str, ...] = (),
        other: Callable[[str], object] = lambda name: None,
        group: str = "",
        taken: Callable[[str, object], object] = lambda name, part: part,
    ):
        self.kind, self.package, self.attribute, self.given, self.other = kind, package, attribute, given, other
        self.rows = {_key(name): part for name, part in (rows or {}).items()}
        self.group, self.taken = group, taken
        self._loaded: dict[tuple[str, str], object] = {}

    def names(self) -> list[str]:
        """The names of all parts, sorted, without importing them."""
        return sorted({*self._own(), *self.packaged()})

    def packaged(self) -> dict[str, EntryPoint]:
        """The parts that installed packages offer, by name; nothing is imported."""
        offered, own = self._offers()
        return {name: points[0] for name, points in offered.items() if len(points) == 1 and name not in own}

    def conflicts(self) -> dict[str, str]:
        """By name, why what installed packages offer is not used: asmil has a part of that name, or another package."""
        offered, own = self._offers()
        said = {}
        for name, points in offered.items():
            packages = " and ".join(map(package_of, points))
            if name in own:
                said[name] = f"the {self.kind} {name!r} is asmil's own, not that of {packages}: it needs another name"
            elif len(points) > 1:
                said[name] = f"the {self.kind} {name!r} is offered by {packages}: uninstall all but one"
        return said

    def usable(self) -> list[str]:
        """The names of asmil's own parts, and then of those of packages that can be loaded; others are warned of."""
        good = sorted(self._own())
        for name in self.packaged():
            try:
                self[name]
                good.append(name)
            except PartError as error:
                _warn_once(str(error))
        return good

    def has_module(self, name: str) -> bool:
        """Whether a part of this name is a module: a file, or of an installed package."""
        return _key(name) not in self.rows and _key(name) in self.names()

    def module(self, name: str) -> ModuleType:
        """The module of a part that has one.

        Raises:
            UnknownPartError: no module of that name.
            PartError: a package offers it, and it cannot be imported.
        """
        if (other := self.other(name)) is not None:
            return sys.modules[other.__module__]
        module = f"{self.package}.{_key(name)}"
        if module not in sys.modules:
            if (point := self.packaged().get(_key(name))) is not None:
                self[name]
                return importlib.import_module(point.module)
            if not self.has_module(name):
                raise self._no_part(name)
        return importlib.import_module(module)  # which waits where another thread is importing it

    def summary(self, name: str) -> str:
        """What a part is, in one line: the first of its file, read without importing it, or its row's `about`."""
        if _key(name) in self.rows:
            return self.rows[_key(name)].about
        if (point := self.packaged().get(_key(name))) is not None:
            about = point.dist.metadata["Summary"] if point.dist else None
            return f"Of {package_of(point)}: {about or 'it does not say what it is'}"
        files = f"{_key(name)}.py", f"{_key(name)}/__init__.py"
        places = (Path(folder, file) for folder in self._folders() for file in files)
        file = next((place for place in places if place.is_file()), None)
        if file is None:
            raise self._no_part(name)
        return _first_line(ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))))

    def options(self, name: str) -> dict[str, object]:
        """The options that a part is called with, and their defaults.

        Raises:
            UnknownPartError: no part of that name.
        """
        parameters = inspect.signature(self[name]).parameters.values()
        return {p.name: p.default for p in parameters if p.name not in self.given}

    def check_options(self, name: str, options: Iterable[str]) -> None:
        """Raise a `ConfigError` for the first option that the part does not have, or as `options` does."""
        known = self.options(name)
        if wrong := next((option for option in options if option not in known), None):
            listed = ", ".join(f"{option}={default!r}" for option, default in known.items()) or "none"
            fix = f"{did_you_mean(wrong, known)} its options: {listed}"
            raise ConfigError(f"the {self.kind} {name!r} has no option {wrong!r}", fix=fix.strip())

    def check_kinds(self, name: str, options: Facts) -> None:
        """Raise a `ConfigError` for the first value that its parameter's annotation excludes: "no" for a switch, which
        Python takes for true, or half a layer. Only plain kinds are looked at."""
        parameters = inspect.signature(self[name]).parameters
        for option, value in options.items():
            annotation, default = parameters[option].annotation, parameters[option].default
            kinds = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
            if value is default or not all(isinstance(kind, type) and kind in _PLAIN for kind in kinds):
                continue
            if not any(_is(kind, value) for kind in kinds):
                what = f"{option} of the {self.kind} {name!r} must be {' or '.join(_PLAIN[kind] for kind in kinds)}"
                raise ConfigError(what, found=repr(value), fix=f"its default is {default!r}")

    def _folders(self) -> list[str]:
        spec = importlib.util.find_spec(self.package)
        return list(spec.submodule_search_locations or []) if spec else []

    def _own(self) -> set[str]:
        files = (m.name for m in pkgutil.iter_modules(self._folders()) if not (m.ispkg or m.name.startswith("_")))
        return {*files, *self.rows}

    def _offers(self) -> tuple[dict[str, list[EntryPoint]], set[str]]:
        """What packages offer, by name; and where they offer anything, the names of asmil's own."""
        offered = _offered(self.group, tuple(sys.path)) if self.group else {}
        return offered, self._own() if offered else set()

    def _no_part(self, name: str) -> UnknownPartError:
        if why := self.conflicts().get(_key(name)):
            return UnknownPartError(f"there is no {self.kind} {name!r} that can be meant", found=why)
        return _unknown(self.kind, name, self.names())

    def _load(self, name: str, point: EntryPoint) -> object:
        """The part of an entry point; what it raised the first time is raised again."""
        place = (name, point.value)
        if place not in self._loaded:
            what = f"the {self.kind} {name!r} of {package_of(point)} cannot be used"
            fix = f"`python -c 'import {point.module}'` shows it whole; mend, update or uninstall the package"
            try:
                with blaming(PartError, what, fix=fix):
                    found = point.load()
                    part = getattr(found, self.attribute) if inspect.ismodule(found) else found
                    self._loaded[place] = self.taken(name, part)
            except AsmilError as error:
                self._loaded[place] = error if isinstance(error, PartError) else PartError(what, found=error, fix=fix)
        if isinstance(found := self._loaded[place], PartError):
            raise found
        return found

    def __getitem__(self, name: str) -> Any:
        key = _key(name)
        if (other := self.other(name)) is not None:
            return other
        if (why := self.conflicts().get(key)) and name in self:
            _warn_once(why)
        if (point := self.packaged().get(_key(name))) is not None:
            return self._load(_key(name), point)
        return self.rows[_key(name)] if _key(name) in self.rows else getattr(self.module(name), self.attribute)

    def __contains__(self, name: str) -> bool:
        return _key(name) in self.names()


_PLAIN = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", NoneType: "null"}
_WIDER: dict[type, type] = {int: Integral, float: Real}  # numpy's numbers


def _is(kind: type, value: object) -> bool:
    """Whether a value is of a plain kind; whole numbers are numbers, and true is none."""
    if type(value).__name__ in ("bool", "bool_"):  # of numpy, too
        return kind is bool
    return isinstance(value, _WIDER.get(kind, kind))


@cache
def _warn_once(text: str) -> None:
    warnings.warn(text, stacklevel=3)


def _first_line(docstring: str | None) -> str:
    return (docstring or "").partition("\n")[0]


class FunctionRegistry:
    """Functions registered by a decorator under their own name."""

    def __init__(self, kind: str):
        self.kind = kind
        self._functions: Facts = {}

    def register(self, function: T) -> T:
        """Register `function` under its name; a name is taken once."""
        name = _key(function.__name__)  # type: ignore[attr-defined]
        if name in self._functions:
            raise ValueError(f"{self.kind} {name!r} is registered twice")
        self._functions[name] = function
        return function

    def names(self) -> list[str]:
        """The registered names, sorted."""
        return sorted(self._functions)

    def summary(self, name: str) -> str:
        """What a function does: the first line of its docstring."""
        return _first_line(inspect.getdoc(self[name]))

    def __getitem__(self, name: str) -> Callable[..., Any]:
        if _key(name) not in self._functions:
            raise _unknown(self.kind, name, self._functions)
        return self._functions[_key(name)]

    def __contains__(self, name: str) -> bool:
        return _key(name) in self._functions


def door(package: str) -> tuple[list[str], Callable[[str], object]]:
    """`__all__` and `__getattr__` of a package whose names are loaded when they are used.

    Its `__init__` offers what it imports from asmil under `if TYPE_CHECKING:`, where type checkers and readers see it,
    and what it defines: a name is written once.
    """
    body = ast.parse(Path(str(sys.modules[package].__file__)).read_text(encoding="utf-8")).body
    guarded = [node for block in body if isinstance(block, ast.If) for node in block.body]
    home = {
        alias.name: str(node.module)
        for node in guarded
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("asmil.")
        for alias in node.names
    }
    own = [node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    own += [str(getattr(node.targets[0], "id", "")) for node in body if isinstance(node, ast.Assign)]

    def load(name: str) -> object:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(home[name]), name)

    names = sorted({*home, *(name for name in own if name and not name.startswith("_"))})
    module = sys.modules[package]
    module.__dir__ = lambda: sorted({*vars(module), *names})  # type: ignore[method-assign]  # what the Tab key offers
    return names, load
