"""Write the page of a run: report.html, one file that needs nothing else."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from asmil.figures import colour_stops
from asmil.report import claims, clinical, sections
from asmil.report.attention import attention_section, localisation_section
from asmil.report.blocks import Section, TaskPart
from asmil.report.choice import choice_words
from asmil.report.columns import group_columns
from asmil.report.first import first_section, places
from asmil.report.inputs import RunFiles
from asmil.report.maps import slide_views
from asmil.report.pages import write_page
from asmil.report.trust import trust_section
from asmil.report.words import plain


def write_report(
    run_folder: str | Path, *, heatmaps: int = 8, subgroups: Sequence[str] = (), labels: Path | None = None
) -> Path:
    """Write `report.html` into a run folder, from the files of that folder (and, for subgroups, the table of labels).

    The page is self-contained: styles, figures and pictures are inside, nothing is fetched. What the run did
    not record is left out; a run of another task than classification has that task's sections.

    Args:
        heatmaps: number of slides shown with their attention.
        subgroups: columns of cohort.csv or of the table of labels whose groups are compared, beside `site`.
        labels: the table of labels, where it is not at the place that config.yaml names.

    Returns:
        The path of the page.

    Raises:
        RunError: the folder has no predictions, attention and features disagree, or a column cannot be found.
    """
    files = RunFiles(run_folder)
    views = slide_views(files, heatmaps)
    links = places(files, [view["slide"] for view in views])
    part = _task_part(files)
    groups = group_columns(files, subgroups, labels=labels)
    headline, parts = _parts(files, part, groups=groups, links=links)
    slides = sections.slides_section(files)
    maps = [("maps", "Where it looked")] if views else []
    return write_page(
        files.folder / "report.html",
        "report/run.html.jinja",
        name=Path(run_folder).resolve().name,
        kind="report",
        facts=claims.facts(files),
        headline=headline,
        contents=[*((s.id, s.title) for s in parts), *maps, ("slides", "All slides"), ("settings", "Settings")],
        sections=parts,
        views=views,
        choice=choice_words(files),
        colours=colour_stops(),
        slides=slides,
        settings=[(k, plain(v)) for k, v in files.config.items()],
        environment=[(k, plain(v)) for k, v in files.environment.items()],
        stages=sections.stages(files),
    )


def _task_part(files: RunFiles) -> TaskPart | None:
    """What a task other than classification adds."""
    if files.classes:
        return None
    from asmil.report.tasks import task_part

    return task_part(files)


def _parts(
    files: RunFiles, part: TaskPart | None, *, groups: dict[str, Any], links: dict[str, str]
) -> tuple[dict[str, Any] | None, list[Section]]:
    """The headline, and the sections up to the maps in the order of the page."""
    names = sections.METRIC_NAMES | (part.names if part else {})
    headline = claims.headline(files, part, names=names)
    own: list[Section] = list(part.sections) if part else []
    trust: dict[str, Any] = {}
    if files.classes:
        calibration = clinical.calibration_of(files)
        decisions = clinical.decisions_of(files)
        found = clinical.subgroups_of(files, groups)
        trust = {"calibration": calibration, "decisions": decisions, "groups": found}
        own = [
            clinical.calibration_section(files, calibration),
            *([clinical.decision_section(files, decisions, calibration)] if decisions else []),
            clinical.subgroup_section(files, found),
        ]
    localisation = localisation_section(files)
    return headline, [
        claims.done_section(files),
        trust_section(files, headline, **trust),
        first_section(files, links),
        sections.cohort_section(files),
        sections.metrics_section(files, names),
        *own,
        attention_section(files),
        *([localisation] if localisation else []),
    ]
