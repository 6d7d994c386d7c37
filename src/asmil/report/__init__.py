"""One self-contained HTML page of a run or of two runs compared, on paper too, and heatmaps of slides."""

from typing import TYPE_CHECKING, Any

from asmil.registry import load

if TYPE_CHECKING:
    from asmil.report.comparison import write_comparison as write_comparison
    from asmil.report.maps import draw_heatmap as draw_heatmap
    from asmil.report.maps import write_heatmaps as write_heatmaps
    from asmil.report.pages import Entry as Entry
    from asmil.report.pages import Figure as Figure
    from asmil.report.pages import Section as Section
    from asmil.report.pages import Table as Table
    from asmil.report.pages import figure as figure
    from asmil.report.pages import write_page as write_page
    from asmil.report.pages import write_pdf as write_pdf
    from asmil.report.paper import write_paper_figure as write_paper_figure
    from asmil.report.report import write_report as write_report
    from asmil.report.words import plural as plural

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


def __getattr__(name: str) -> Any:
    return load(__name__, _HOME_OF, name)
