"""Write the page of a run: report.html, one file that needs nothing else."""

import importlib.resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from asmil.figures.heatmap import colour_stops
from asmil.files import write_text
from asmil.report import claims, sections
from asmil.report.inputs import RunFiles
from asmil.report.maps import slide_views


def write_report(run_folder: str | Path, *, heatmaps: int = 8) -> Path:
    """Write `report.html` into a run folder, from the files of that folder only.

    The page is self-contained: styles, figures and pictures are inside, nothing is fetched. What the run did
    not record is left out.

    Args:
        heatmaps: number of slides shown with their attention.

    Returns:
        The path of the page.

    Raises:
        RunError: the folder has no predictions, or attention and features disagree.
    """
    files = RunFiles(run_folder)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["number"] = sections.number
    page = environment.from_string(_resource("template.html.jinja")).render(
        style=Markup(_resource("style.css")),
        name=Path(run_folder).resolve().name,
        headline=claims.headline(files),
        protocol=claims.protocol(files),
        cohort=sections.cohort(files),
        failures=sections.failures(files),
        metrics=sections.metric_table(files),
        figures=sections.prediction_figures(files) | sections.attention_figures(files),
        attention=sections.attention_facts(files),
        views=slide_views(files, heatmaps),
        colours=colour_stops(),
        rows=sections.slide_rows(files),
        settings=[(k, sections.plain(v)) for k, v in files.config.items()],
        environment=[(k, sections.plain(v)) for k, v in files.environment.items()],
        stages=sections.stages(files),
    )
    path = files.folder / "report.html"
    write_text(path, page)
    return path


def _resource(name: str) -> str:
    return (importlib.resources.files("asmil.report") / name).read_text(encoding="utf-8")
