"""The slides of a run in the browser, with the attention over them: a local server and one page."""

from typing import Any

from asmil.registry import load

_HOME_OF = {
    "Pyramid": "pyramid",
    "RunView": "session",
    "listen": "serving",
    "make_app": "app",
    "serve": "serving",
}
__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    return load(__name__, _HOME_OF, name)
