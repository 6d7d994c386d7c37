"""Extraction: slides become feature files, in one stream of tiles."""

from typing import TYPE_CHECKING, Any

from asmil._lazy import load

if TYPE_CHECKING:
    from asmil.extraction.embedding import embed as embed
    from asmil.extraction.feature_file import is_finished as is_finished
    from asmil.extraction.feature_file import write_features as write_features
    from asmil.extraction.pipeline import extract_slides as extract_slides
    from asmil.extraction.result import SlideResult as SlideResult
    from asmil.extraction.settings import ExtractSettings as ExtractSettings
    from asmil.extraction.settings import store_name as store_name
    from asmil.extraction.tissue import tissue_of as tissue_of

_HOMES = {
    "ExtractSettings": "settings",
    "SlideResult": "result",
    "embed": "embedding",
    "extract_slides": "pipeline",
    "is_finished": "feature_file",
    "store_name": "settings",
    "tissue_of": "tissue",
    "write_features": "feature_file",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    return load(__name__, _HOMES, name)
