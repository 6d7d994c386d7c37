"""Find the tissue of every slide: polygons to look at and edit in QuPath before tiles are cut."""

from pathlib import Path
from typing import TYPE_CHECKING

from asmil.cli.parts import settings_from, with_settings
from asmil.cli.parts.told import screen, wrote
from asmil.errors import as_typed
from asmil.settings import Group

if TYPE_CHECKING:
    from asmil.extraction import ExtractSettings
    from asmil.slides import SlideFile

GRID = ("mpp", "tile_px", "overlap_px", "min_tissue")


@with_settings("slides", Group.OUT, Group.SCALE, Group.TILES)
def tissue(**settings: object) -> None:
    """Write tissue/<slide>.geojson with a picture beside it (.jpg), thumbnails/<slide>.jpg and slides.csv.

    The pictures show the tiles too where any of --mpp, --tile-px, --overlap-px, --min-tissue is given. `embed` and
    `run` use outlines that you edited as they are, and a slides.csv that you edited with --slide-settings; so does
    this command, to try the edits out.
    """
    from asmil.cli import exit_with
    from asmil.errors import ConfigError
    from asmil.extraction import TISSUE, read_slide_table, row_of, settings_of, write_slide_table
    from asmil.progress import FAILURES, NOTED, Outcome
    from asmil.settings import check_extraction, extract_settings, require_place, slide_files_of, slides_in
    from asmil.slides import name_of

    config = settings_from(settings)
    require_place(config)
    paths, outcome, hear = slide_files_of(config), Outcome(), screen()
    check_extraction(config, paths)
    table = config.out / "slides.csv"
    if table.exists() and config.slide_settings is None:
        fix = f"{as_typed('--slide-settings', table)} to use it, or move it away"
        raise ConfigError(f"{table} is there already, perhaps edited", fix=fix)
    names = [name_of(path) for path in paths]
    own = read_slide_table(config.slide_settings, slides=names) if config.slide_settings else {}
    slides = slides_in(paths, settings=config, own_settings=own)
    default = extract_settings(config)
    with_grid, rows = any(settings[name] is not None for name in GRID), []
    if with_grid and default.exclude:
        hear.note("the pictures show tiles that --exclude-tiles leaves out, too: flags are found when tiles are read")
    with hear.stage("tissue", total=len(slides)) as advance:
        for slide in slides:
            one = settings_of(slide.name, default=default, table=own)
            found: dict[str, object] = {}
            with outcome.attempt(slide.name, stage="tissue"):
                notes = _look(slide, config.out, settings=one, with_grid=with_grid, found=found)
                outcome.ok(slide.name)
                for note in notes:
                    outcome.noted(slide.name, stage="tissue", reason=note)
            rows.append((slide.name, one, found))
            advance(1)
    problems = {
        row.name: {"result": "ok" if row.result == NOTED else row.result, "reason": row.reason} for row in outcome.rows
    }
    write_slide_table(
        table, [row_of(name, one, **found, **problems.get(name, {"result": "ok"})) for name, one, found in rows]
    )
    hear.closing(outcome)
    outcome.write(config.out / FAILURES)
    shown = f"look at {config.out / TISSUE}/*.jpg; settings slide by slide: {as_typed('--slide-settings', table)}"
    wrote("settings", table, shown=shown)
    exit_with(outcome)


def _look(
    file: "SlideFile", out: Path, *, settings: "ExtractSettings", with_grid: bool, found: dict[str, object]
) -> list[str]:
    """Find or read the tissue of a slide and draw it; `found` is filled as far as it goes. What there is to know of it.

    Raises:
        AsmilError: the slide or its outlines cannot be read, or there is no tissue.
    """
    from asmil.errors import AsmilError, TissueError
    from asmil.extraction import TISSUE, tissue_of
    from asmil.files import safe_name
    from asmil.tiles import EDITED, tile, write_tissue_picture

    with file.open(mpp=settings.slide_mpp, objective=settings.objective, reader=settings.reader) as slide:
        try:
            tissue = tissue_of(slide, out, settings=settings)
        except TissueError as error:  # of outlines that cannot be used: that is no slide without tissue
            raise AsmilError(error.what, found=error.found, fix=error.fix) from error
        found["found_mpp"] = round(slide.mpp, 6)
        found["found_tissue_mm2"] = round(tissue.area_um2 / 1e6, 4)
        found["found_polygons"] = len(tissue.polygons.geoms)
        picture = out / TISSUE / f"{safe_name(slide.name)}.jpg"
        write_tissue_picture(picture, slide, tissue)
        if tissue.polygons.is_empty:
            drawn = picture.with_suffix(".geojson")
            other = (
                f"draw some in {drawn}, or delete that" if tissue.settings == EDITED else "try another --tissue-method"
            )
            raise TissueError("there is no tissue", fix=f"look at {picture}; {other}")
        if with_grid:
            grid = tile(
                slide,
                tissue,
                mpp=settings.mpp,
                tile_px=settings.tile_px,
                overlap_px=settings.overlap_px,
                min_tissue=settings.min_tissue,
            )
            write_tissue_picture(picture, slide, tissue, grid=grid)
        return slide.notes
