"""One self-contained HTML page of a run or of two runs compared, on paper too, and heatmaps of slides."""

from typing import TYPE_CHECKING

from asmil.registry import load

if TYPE_CHECKING:
    from asmil.report.comparison import write_comparison
    from asmil.report.maps import draw_heatmap, write_heatmaps
    from asmil.report.pages import Entry, Figure, Section, Table, figure, write_page, write_pdf
    from asmil.report.paper import write_paper_figure
    from asmil.report.report import write_report
    from asmil.report.words import plural

_HOMES = {
    "comparison": ("write_comparison",),
    "maps": ("draw_heatmap", "write_heatmaps"),
    "pages": ("Entry", "Figure", "Section", "Table", "figure", "write_page", "write_pdf"),
    "paper": ("write_paper_figure",),
    "report": ("write_report",),
    "words": ("plural",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> object:
    return load(__name__, _HOME_OF, name)
