"""Parts by name: one file per part found by reading its folder, or functions registered one by one; lazy doors."""

import ast
import importlib
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from asmil.errors import ConfigError, UnknownPartError, did_you_mean
from asmil.files import Facts

T = TypeVar("T")


def _key(name: str) -> str:
    return name.replace("-", "_").lower()


def _unknown(kind: str, name: str, known: Iterable[str]) -> UnknownPartError:
    known = sorted(known)
    fix = f"{did_you_mean(_key(name), known)} known: {', '.join(known)}"
    return UnknownPartError(f"there is no {kind} {name!r}", fix=fix.strip())


class FolderRegistry:
    """Parts that live one per file in a package; the file's name is the part's name.

    Each file exposes its part under `attribute` (for example `MODEL = ABMIL`). Listing reads file names only, so
    it imports nothing. Dashes and underscores are the same in names. Folders within hold what parts share.
    `rows` are further parts by name, of a table: each says in `about` what it is. Parts that are called take the
    arguments `given`, and options of their own. `other` gives parts of elsewhere by name, or None.
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
    ):
        self.kind, self.package, self.attribute, self.given, self.other = kind, package, attribute, given, other
        self.rows = {_key(name): part for name, part in (rows or {}).items()}

    def names(self) -> list[str]:
        """The names of all parts, sorted, without importing them."""
        files = [m.name for m in pkgutil.iter_modules(self._folders()) if not (m.ispkg or m.name.startswith("_"))]
        return sorted({*files, *self.rows})

    def is_file(self, name: str) -> bool:
        """Whether a part of this name is a file."""
        return _key(name) not in self.rows and _key(name) in self.names()

    def module(self, name: str):
        """The module of a part that is a file.

        Raises:
            UnknownPartError: no file of that name.
        """
        if (other := self.other(name)) is not None:
            return sys.modules[other.__module__]
        module = f"{self.package}.{_key(name)}"
        if module not in sys.modules and not self.is_file(name):
            raise _unknown(self.kind, name, self.names())
        return importlib.import_module(module)

    def summary(self, name: str) -> str:
        """What a part is, in one line: the first of its file, read without importing it, or its row's `about`."""
        if _key(name) in self.rows:
            return self.rows[_key(name)].about
        files = f"{_key(name)}.py", f"{_key(name)}/__init__.py"
        places = (Path(folder, file) for folder in self._folders() for file in files)
        file = next((place for place in places if place.is_file()), None)
        if file is None:
            raise _unknown(self.kind, name, self.names())
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

    def _folders(self) -> list[str]:
        spec = importlib.util.find_spec(self.package)
        return list(spec.submodule_search_locations or []) if spec else []

    def __getitem__(self, name: str) -> Any:
        if (other := self.other(name)) is not None:
            return other
        return self.rows[_key(name)] if _key(name) in self.rows else getattr(self.module(name), self.attribute)

    def __contains__(self, name: str) -> bool:
        return _key(name) in self.names()


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

    return sorted({*home, *(name for name in own if name and not name.startswith("_"))}), load
