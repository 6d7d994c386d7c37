"""Feature files of any known tool into the layout of another: asmil, CLAM, TRIDENT, STAMP, torchmil or AnnData."""

from pathlib import Path

import typer

from asmil.cli.parts import settings_from, with_settings
from asmil.cli.parts.told import screen, wrote
from asmil.settings import Group


@with_settings(Group.OUT, "features_encoder", Group.TABLES, "slide_mpp")
def convert(
    source: Path = typer.Argument(..., help="Folder (or file) of feature files in any known format."),
    to: str = typer.Option(
        ..., "--to", help="Layout to write: asmil (quickest to read), clam, trident, stamp, torchmil or anndata."
    ),
    tile_px: int | None = typer.Option(None, help="Side of a tile as the encoder saw it, where files do not say it."),
    **settings: object,
) -> None:
    """Convert slide by slide, in the memory of one; what is wrong with one file never stops the others.

    With --labels only the slides in the table are converted, and its column mpp states the scale of each.
    """
    from asmil.bags import LAYOUTS, open_features, read_slide
    from asmil.cli import exit_with
    from asmil.progress import FAILURES, Outcome
    from asmil.settings import note_earlier, note_tables, read_tables, require_place, require_some, slide_mpp_of

    write, hear, outcome = LAYOUTS[to], screen(), Outcome()
    config = settings_from(settings | {"features": source})
    require_place(config)
    store = open_features(source, encoder=config.features_encoder)
    for problem in store.problems:
        outcome.failed(problem.slide or str(problem.path), stage="read", reason=problem.what)
    slides, mpps, written = store.slides, {}, list[str]()
    if config.labels is not None:
        labelled = read_tables(config)
        cohort = labelled.match(store.slides, unreadable=store.problems)
        note_tables(outcome, labelled=labelled, matched=cohort, store=store)
        slides, mpps = list(cohort.slides), slide_mpp_of(cohort)
    with hear.stage("convert", total=len(slides)) as advance:
        for slide in slides:
            with outcome.attempt(slide, stage="convert"):
                mpp = mpps.get(slide, config.slide_mpp)
                write(read_slide(store, slide, slide_mpp=mpp, tile_px=tile_px), config.out)
                outcome.ok(slide)
                written.append(slide)
            advance(1)
    outcome.write(config.out / FAILURES)
    require_some([config.out], outcome, hear)
    hear.closing(outcome)
    note_earlier(config.out, written, hear)
    wrote("features", config.out)
    exit_with(outcome)
