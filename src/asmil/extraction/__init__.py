"""Extraction: slides become feature files, in one stream of tiles."""

from typing import TYPE_CHECKING, Any

from asmil._lazy import load

if TYPE_CHECKING:
    from asmil.extraction.duplicates import find_duplicates as find_duplicates
    from asmil.extraction.embedding import embed as embed
    from asmil.extraction.feature_file import is_finished as is_finished
    from asmil.extraction.feature_file import write_features as write_features
    from asmil.extraction.ledger import Record as Record
    from asmil.extraction.ledger import note_duplicates as note_duplicates
    from asmil.extraction.ledger import start_time as start_time
    from asmil.extraction.pipeline import extract_slides as extract_slides
    from asmil.extraction.result import UNSTAINED as UNSTAINED
    from asmil.extraction.result import SlideResult as SlideResult
    from asmil.extraction.settings import ExtractSettings as ExtractSettings
    from asmil.extraction.settings import store_name as store_name
    from asmil.extraction.slide_table import read_slide_table as read_slide_table
    from asmil.extraction.slide_table import row_of as row_of
    from asmil.extraction.slide_table import settings_of as settings_of
    from asmil.extraction.slide_table import write_slide_table as write_slide_table
    from asmil.extraction.tissue import tissue_of as tissue_of
    from asmil.extraction.work import EncoderChoice as EncoderChoice
    from asmil.extraction.work import Work as Work
    from asmil.extraction.work import extract_folder as extract_folder

_HOMES = {
    "EncoderChoice": "work",
    "ExtractSettings": "settings",
    "Record": "ledger",
    "SlideResult": "result",
    "UNSTAINED": "result",
    "Work": "work",
    "embed": "embedding",
    "extract_folder": "work",
    "extract_slides": "pipeline",
    "find_duplicates": "duplicates",
    "is_finished": "feature_file",
    "note_duplicates": "ledger",
    "read_slide_table": "slide_table",
    "row_of": "slide_table",
    "settings_of": "slide_table",
    "start_time": "ledger",
    "store_name": "settings",
    "tissue_of": "tissue",
    "write_features": "feature_file",
    "write_slide_table": "slide_table",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    return load(__name__, _HOMES, name)
