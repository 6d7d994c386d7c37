"""The slides of a run in the browser, with the attention over them: a local server and one page."""

from typing import TYPE_CHECKING

from asmil.registry import load

if TYPE_CHECKING:
    from asmil.viewer.app import make_app
    from asmil.viewer.pyramid import Pyramid
    from asmil.viewer.serving import listen, serve
    from asmil.viewer.session import RunView

_HOMES = {
    "app": ("make_app",),
    "pyramid": ("Pyramid",),
    "serving": ("listen", "serve"),
    "session": ("RunView",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> object:
    return load(__name__, _HOME_OF, name)
