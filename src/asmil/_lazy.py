"""Names of a package that are loaded when they are used, so that importing a room loads nothing heavy."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any


def load(package: str, home: Mapping[str, str], name: str) -> Any:
    """What a package's `__getattr__` returns: `name` from its module `home[name]`, relative to the package.

    Raises:
        AttributeError: the package has no such name.
    """
    if name not in home:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    return getattr(import_module(f"{package}.{home[name]}"), name)
