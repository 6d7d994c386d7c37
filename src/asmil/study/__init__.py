"""Many models, stabilisers and datasets compared: every fold and seed of every arm becomes a row of one table.

Names are loaded when used: reading this package imports no torch.
"""

from importlib import import_module

_HOME = {
    "Arm": "arms",
    "StudyConfig": "config",
    "StudyResult": "runner",
    "list_arms": "arms",
    "load_study": "config",
    "run_study": "runner",
    "write_study_report": "page",
}
__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
