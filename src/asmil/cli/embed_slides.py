"""Features of tiles to one vector per slide by a slide encoder: TITAN, PRISM, CHIEF, Prov-GigaPath and others."""

from pathlib import Path

import typer

from asmil.cli.parts import settings_from, with_settings
from asmil.cli.parts.told import screen, wrote
from asmil.settings import Group


@with_settings(Group.OUT, "features_encoder", "slide_mpp", "device", "weights", "encoder_precision")
def embed_slides(
    source: Path = typer.Argument(..., help="Folder (or file) of tile features in any known format."),
    slide_encoder: str = typer.Option(..., "--slide-encoder", help="A name of `asmil list slide-encoders`."),
    assume_tiles: bool = typer.Option(
        False, "--assume-tiles", help="Take what files do not say of their tiles to be as the slide encoder wants it."
    ),
    **settings: object,
) -> None:
    """Write a feature file per slide, a bag of one: to be trained on with --model linear or --model knn.

    Tiles of another encoder, side or scale than the slide encoder was trained on are refused. Run it again to go on.
    """
    from asmil.bags import check_slide_tiles, open_features, write_slide_vector
    from asmil.cli import exit_with
    from asmil.encoders import create_slide_encoder, slide_card
    from asmil.errors import AsmilError
    from asmil.progress import FAILURES, Outcome
    from asmil.settings import device_of, note_earlier, require_place, require_some

    config, hear, outcome = settings_from(settings | {"features": source}), screen(), Outcome()
    card = slide_card(slide_encoder)
    require_place(config)
    store, mpp = open_features(source, encoder=config.features_encoder), config.slide_mpp
    taken, refused, written = [], list[AsmilError](), list[str]()
    for problem in store.problems:
        outcome.failed(problem.slide or str(problem.path), stage="read", reason=problem.what)
    for slide in store.slides:
        try:
            check_slide_tiles(store, slide, card, slide_mpp=mpp, assume=assume_tiles)
            taken.append(slide)
        except AsmilError as error:
            refused.append(error)
            outcome.failed(slide, stage="check tiles", reason=str(error))
    if not taken:
        raise refused[0]
    made = create_slide_encoder(
        card, device=device_of(config.device), weights=config.weights, precision=config.encoder_precision
    )
    with hear.stage("embed slides", total=len(taken)) as advance:
        for slide in taken:
            with outcome.attempt(slide, stage="embed"):
                write_slide_vector(store, slide, config.out, encoder=made, slide_mpp=mpp)
                outcome.ok(slide)
                written.append(slide)
            advance(1)
    outcome.write(config.out / FAILURES)
    require_some([config.out], outcome, hear)
    hear.closing(outcome)
    note_earlier(config.out, written, hear)
    wrote("features", config.out)
    exit_with(outcome)
