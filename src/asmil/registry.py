"""Parts by name: one file per part found by reading its folder, or functions registered one by one."""

import difflib
import importlib
import importlib.util
import pkgutil
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from asmil.errors import UnknownPartError

T = TypeVar("T")


def _key(name: str) -> str:
    return name.replace("-", "_").lower()


def _unknown(kind: str, name: str, known: Iterable[str]) -> UnknownPartError:
    known = sorted(known)
    close = difflib.get_close_matches(_key(name), known, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return UnknownPartError(f"there is no {kind} {name!r}", fix=f"{hint}known: {', '.join(known)}")


class FolderRegistry:
    """Parts that live one per file in a package; the file's name is the part's name.

    Each file exposes its part under `attribute` (for example `MODEL = ABMIL`). Listing reads file names only, so
    it imports nothing. Dashes and underscores are the same in names. Folders within hold what parts share.
    """

    def __init__(self, kind: str, package: str, attribute: str):
        self.kind, self.package, self.attribute = kind, package, attribute

    def names(self) -> list[str]:
        """The names of all parts, sorted, without importing them."""
        spec = importlib.util.find_spec(self.package)
        locations = list(spec.submodule_search_locations or []) if spec else []
        return sorted(m.name for m in pkgutil.iter_modules(locations) if not (m.ispkg or m.name.startswith("_")))

    def module(self, name: str):
        """The module of a part.

        Raises:
            UnknownPartError: no file of that name.
        """
        if _key(name) not in self.names():
            raise _unknown(self.kind, name, self.names())
        return importlib.import_module(f"{self.package}.{_key(name)}")

    def __getitem__(self, name: str) -> Any:
        return getattr(self.module(name), self.attribute)

    def __contains__(self, name: str) -> bool:
        return _key(name) in self.names()


class FunctionRegistry:
    """Functions registered by a decorator under their own name."""

    def __init__(self, kind: str):
        self.kind = kind
        self._functions: dict[str, Any] = {}

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

    def __getitem__(self, name: str) -> Callable[..., Any]:
        if _key(name) not in self._functions:
            raise _unknown(self.kind, name, self._functions)
        return self._functions[_key(name)]

    def __contains__(self, name: str) -> bool:
        return _key(name) in self._functions
