"""Slides in the browser, with the attention over them and what a person says of them: a local server and one page."""

from typing import TYPE_CHECKING

from asmil.registry import door

if TYPE_CHECKING:
    from asmil.viewer.app import make_app
    from asmil.viewer.pyramid import Pyramid
    from asmil.viewer.serving import is_loopback, listen, serve
    from asmil.viewer.session import View
    from asmil.viewer.views import PredictionsView, RunView
else:
    __all__, __getattr__ = door(__name__)
