"""Write the page of a run: report.html, one file that needs nothing else; or the page with its pictures in a zip."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from asmil.figures import colour_stops
from asmil.files import Facts, safe_name, write_text, written_beside
from asmil.report import claims, clinical, sections
from asmil.report.maps import MOST_BYTES, attention_and_tiles, size_of, slide_views, write_heatmaps
from asmil.report.pages import Section, TaskPart, filled
from asmil.report.slides import (
    choice_words,
    first_section,
    places,
    pointed_at,
    right_slides,
    slides_section,
    wrong_section,
    wrong_slides,
)
from asmil.report.words import plain
from asmil.runs import Run
from asmil.settings import described

TEMPLATE = "report/templates/run.html.jinja"


def write_report(
    run: Run | str | Path,
    *,
    heatmaps: int = 8,
    subgroups: Sequence[str] = (),
    labels: Path | None = None,
    partial: bool = False,
) -> Path:
    """Write the page of a run into its folder, from what is in that (and, for subgroups, the table of labels).

    The page is one file: styles, figures and pictures are inside, it fetches nothing and leads to no other file, so
    it can be sent. What the run did not record is left out; a run of another task than classification has that task's
    sections.

    Args:
        heatmaps: number of slides shown with their attention beside the wrong ones, which all are as far as their
            pictures fit into `maps.MOST_BYTES`; 0: no pictures of slides at all.
        subgroups: columns of the cohort or of the table of labels whose groups are compared, beside `site`.
        labels: the table of labels, where it is not at the place that the settings name.
        partial: of an unfinished run, show what there is; the headline says so.

    Returns:
        The path of the page.

    Raises:
        RunError: the run is not finished or not evaluated, features that are read changed after training, or a column
            cannot be found.
    """
    run = Run.open(run)
    said = run.require_results(partial=partial)
    groups = clinical.group_columns(run, subgroups, labels=labels)
    page = filled(TEMPLATE, **_content(run, said, groups, views=_views(run, heatmaps), pictures={}))
    write_text(run.report_file, page)
    return run.report_file


def write_bundle(
    run: Run | str | Path,
    *,
    heatmaps: int = 8,
    subgroups: Sequence[str] = (),
    labels: Path | None = None,
    partial: bool = False,
) -> Path:
    """Write report.zip into the folder of a run: the page, and beside it what only such a page links to.

    That are large pictures of the slides that the page names (wrong, at most 500; unsteady; shown) and the tables that
    it was made of. Arguments and errors are those of `write_report`.

    Returns:
        The path of the zip; all in it lies in one folder, which has the name of the run.
    """
    run = Run.open(run)
    said = run.require_results(partial=partial)
    groups, views = clinical.group_columns(run, subgroups, labels=labels), _views(run, heatmaps)
    named = pointed_at(run, [str(view["slide"]) for view in views]) if heatmaps else []
    drawable = [slide for slide in named if attention_and_tiles(run, slide) is not None]
    drawn = write_heatmaps(run, drawable, kinds=(".png",), partial=partial)
    pictures = {slide: _beside(run, path) for slide, path in zip(drawable, drawn, strict=True)}
    tables = [path for path in run.result_files if path.is_file()]
    content = _content(run, said, groups, views=views, pictures=pictures)
    page = filled(TEMPLATE, **content | {"files": [_beside(run, path) for path in tables]})
    root = safe_name(run.folder.resolve().name)
    with written_beside(run.bundle_file) as beside, zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED) as bundle:
        _put(bundle, f"{root}/{run.report_file.name}", page.encode())
        for path in (*tables, *drawn):
            _put(bundle, f"{root}/{_beside(run, path)}", path.read_bytes())
    return run.bundle_file


def _put(bundle: zipfile.ZipFile, name: str, content: bytes) -> None:
    """A file of no date, so that the same run makes the same zip; photographs are not packed again."""
    said = zipfile.ZipInfo(name)
    said.external_attr = 0o644 << 16
    kind = zipfile.ZIP_STORED if name.endswith(".png") else zipfile.ZIP_DEFLATED
    bundle.writestr(said, content, compress_type=kind)


def _beside(run: Run, path: Path) -> str:
    return path.relative_to(run.folder).as_posix()


def _views(run: Run, heatmaps: int) -> list[Facts]:
    """The slides with their pictures: all wrong ones, then the right ones beside them, as far as there is room."""
    if not heatmaps:
        return []
    first, then = list(wrong_slides(run)["slide"]), list(right_slides(run))
    run.require_features([*first, *then[:heatmaps]])  # those that are read, so that all that changed are named
    wrong = slide_views(run, first, room=MOST_BYTES)
    room = MOST_BYTES - sum(map(size_of, wrong))
    return [*wrong, *slide_views(run, then, room=room, most=heatmaps)]


def _content(
    run: Run, said: str, groups: dict[str, pd.Series], *, views: list[Facts], pictures: dict[str, str]
) -> Facts:
    """The values of the template; `pictures` maps slides to the files of a bundle."""
    part = _task_part(run)
    names = sections.METRIC_NAMES | (part.names if part else {})
    shown = [str(view["slide"]) for view in views]
    links = places(run, shown, pictures)
    headline = claims.headline(run, part, names=names)
    trust, statistics = _statistics(run, part, names, groups=groups, headline=headline)
    wrong, first, slides = wrong_section(run, links, shown=shown), first_section(run, links), slides_section(run, links)
    right = Section("maps", "Slides decided rightly" if run.classes else "Where the model looked", short="Maps")
    last = Section("settings", "Settings, environment, time", short="Settings")
    shown_right = [right] if any(not view["wrong"] for view in views) else []
    order = [wrong, first, *shown_right, slides, claims.trust_section(trust), *statistics, last]
    return {
        "name": run.folder.resolve().name,
        "kind": "report",
        "partial": f"{said} {run.metrics.get('partial_note') or ''}".strip(),
        "facts": claims.facts(run),
        "headline": headline,
        "answers": claims.answers(run, part, names=names, trust=trust),
        "contents": [(section.id, section.short or section.title) for section in order if section],
        "sections": [claims.trust_section(trust), *statistics],
        "wrong": wrong,
        "first": first,
        "slides": slides,
        "right": right,
        "views": [view | {"id": i, "file": pictures.get(view["slide"], "")} for i, view in enumerate(views, start=1)],
        "choice": choice_words(run),
        "colours": colour_stops(),
        "settings": [one for one in described(run.settings) if one.name != "out"],
        "environment": _environment(run),
        "stages": sections.stages(run),
        "files": [],
    }


def _task_part(run: Run) -> TaskPart | None:
    """What a task other than classification adds."""
    if run.classes:
        return None
    from asmil.report.tasks import task_part

    return task_part(run)


def _environment(run: Run) -> list[tuple[str, str]]:
    """What is known of the machine, but for a folder on it: a page is sent to others."""
    known = {key: value for key, value in run.environment.items() if key != "made_in"}
    return [(key, text) for key, value in known.items() if (text := plain(value)) != "–"]


def _statistics(
    run: Run, part: TaskPart | None, names: dict[str, str], *, groups: dict[str, pd.Series], headline: Facts | None
) -> tuple[Facts, list[Section]]:
    """How far it can be trusted, and the sections for who wants to know how it was done and all numbers."""
    own: list[Section] = list(part.sections) if part else []
    known: Facts = {}
    if run.classes:
        calibration = clinical.calibration_of(run)
        decisions = clinical.decisions_of(run)
        found = clinical.subgroups_of(run, groups)
        known = {"calibration": calibration, "decisions": decisions, "groups": found}
        own = [
            clinical.calibration_section(run, calibration),
            *([clinical.decision_section(run, decisions, calibration)] if decisions else []),
            clinical.subgroup_section(run, found),
        ]
    localisation = sections.localisation_section(run)
    return claims.trust_facts(run, headline, **known), [
        claims.done_section(run),
        sections.cohort_section(run),
        sections.metrics_section(run, names),
        *own,
        sections.attention_section(run),
        *([localisation] if localisation else []),
    ]
