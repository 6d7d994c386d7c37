"""One self-contained HTML page of a run, and heatmaps of its slides."""

import importlib

_HOME_OF = {"write_report": "report", "write_heatmaps": "maps"}
__all__ = sorted(_HOME_OF)


def __getattr__(name: str):
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
