"""Write the page of a run: report.html, one file that needs nothing else."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from asmil.figures import colour_stops
from asmil.files import Facts
from asmil.report import claims, clinical, sections
from asmil.report.maps import pictures_beside, slide_views
from asmil.report.pages import Section, TaskPart, write_page
from asmil.report.slides import choice_words, first_section, first_slides, places, rows_shown, slides_section
from asmil.report.words import plain
from asmil.runs import Run
from asmil.settings import described


def write_report(
    run: Run | str | Path,
    *,
    heatmaps: int = 8,
    subgroups: Sequence[str] = (),
    labels: Path | None = None,
    partial: bool = False,
) -> Path:
    """Write the page of a run into its folder, from what is in that (and, for subgroups, the table of labels).

    The page is self-contained: styles, figures and pictures are inside, nothing is fetched. What the run did
    not record is left out; a run of another task than classification has that task's sections.

    Args:
        heatmaps: number of slides shown with their attention.
        subgroups: columns of the cohort or of the table of labels whose groups are compared, beside `site`.
        labels: the table of labels, where it is not at the place that the settings name.
        partial: of an unfinished run, show what there is; the headline says so.

    Returns:
        The path of the page.

    Raises:
        RunError: the run is not finished or not evaluated, attention and features disagree, or a column cannot be
            found.
    """
    run = Run.open(run)
    sentence = run.require_results(partial=partial)
    views = slide_views(run, heatmaps)
    pictures = pictures_beside(run, [*first_slides(run), *rows_shown(run)["slide"]])
    links = places(run, [str(view["slide"]) for view in views], pictures)
    part = _task_part(run)
    groups = clinical.group_columns(run, subgroups, labels=labels)
    headline, parts = _parts(run, part, groups=groups, links=links)
    slides = slides_section(run, pictures)
    maps = [("maps", "Where it looked")] if views else []
    return write_page(
        run.report_file,
        "report/templates/run.html.jinja",
        name=run.folder.resolve().name,
        kind="report",
        partial=f"{sentence} {run.metrics.get('partial_note') or ''}".strip(),
        facts=claims.facts(run),
        headline=headline,
        contents=[*((s.id, s.title) for s in parts), *maps, ("slides", "All slides"), ("settings", "Settings")],
        sections=parts,
        views=views,
        choice=choice_words(run),
        colours=colour_stops(),
        slides=slides,
        settings=[one for one in described(run.settings) if one.name != "out" and one.value not in (None, "", [], {})],
        environment=[(k, plain(v)) for k, v in run.environment.items()],
        stages=sections.stages(run),
    )


def _task_part(run: Run) -> TaskPart | None:
    """What a task other than classification adds."""
    if run.classes:
        return None
    from asmil.report.tasks import task_part

    return task_part(run)


def _parts(
    run: Run, part: TaskPart | None, *, groups: dict[str, pd.Series], links: dict[str, str]
) -> tuple[Facts | None, list[Section]]:
    """The headline, and the sections up to the maps in the order of the page."""
    names = sections.METRIC_NAMES | (part.names if part else {})
    headline = claims.headline(run, part, names=names)
    own: list[Section] = list(part.sections) if part else []
    trust: Facts = {}
    if run.classes:
        calibration = clinical.calibration_of(run)
        decisions = clinical.decisions_of(run)
        found = clinical.subgroups_of(run, groups)
        trust = {"calibration": calibration, "decisions": decisions, "groups": found}
        own = [
            clinical.calibration_section(run, calibration),
            *([clinical.decision_section(run, decisions, calibration)] if decisions else []),
            clinical.subgroup_section(run, found),
        ]
    localisation = sections.localisation_section(run)
    return headline, [
        claims.done_section(run),
        claims.trust_section(run, headline, **trust),
        first_section(run, links),
        sections.cohort_section(run),
        sections.metrics_section(run, names),
        *own,
        sections.attention_section(run),
        *([localisation] if localisation else []),
    ]
