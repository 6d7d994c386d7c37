"""Extraction: slides become feature files, in one stream of tiles. Names are loaded when used."""

from typing import TYPE_CHECKING

from asmil.registry import door

if TYPE_CHECKING:
    from asmil.extraction.claims import Claims, sole
    from asmil.extraction.engines import WorkerDied, exit_on_sigterm, run_tasks
    from asmil.extraction.feature_file import SMALLEST_FEATURE, is_finished, write_features
    from asmil.extraction.job import UNSTAINED, SlideResult
    from asmil.extraction.ledger import (
        FEATURES,
        STORE,
        THUMBNAILS,
        TISSUE,
        Record,
        content_hash,
        find_duplicates,
        note_duplicates,
        start_time,
    )
    from asmil.extraction.pipeline import embed, extract_slides
    from asmil.extraction.settings import (
        ExtractSettings,
        read_slide_table,
        row_of,
        settings_of,
        store_name,
        tissue_of,
        write_slide_table,
    )
    from asmil.extraction.workers import EncoderChoice, Extraction, extract_folder
else:
    __all__, __getattr__ = door(__name__)
