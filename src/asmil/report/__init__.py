"""One self-contained HTML page of a run or of two runs compared, on paper too, and heatmaps of slides."""

from typing import Any

from asmil._lazy import load

_HOME_OF = {
    "write_report": "report",
    "write_heatmaps": "maps",
    "write_comparison": "comparison",
    "write_pdf": "pages",
    "draw_heatmap": "maps",
    "write_paper_figure": "paper",
}
__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    return load(__name__, _HOME_OF, name)
