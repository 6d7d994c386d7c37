"""One self-contained HTML page of a run or of two runs compared, on paper too, and heatmaps of slides."""

from typing import TYPE_CHECKING

from asmil.registry import door

if TYPE_CHECKING:
    from asmil.report.comparison import write_comparison
    from asmil.report.maps import draw_heatmap, slide_figure, write_heatmaps
    from asmil.report.pages import Entry, Figure, Section, Table, figure, write_page, write_pdf
    from asmil.report.paper import write_paper_figure
    from asmil.report.report import write_bundle, write_report
    from asmil.report.slides import decided, wrong_slides
    from asmil.report.words import plural
else:
    __all__, __getattr__ = door(__name__)
