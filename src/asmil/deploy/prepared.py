"""How new slides are prepared for a run: as its own were, whether it made their features or was given them."""

from collections.abc import Sequence

from asmil.deploy.ensemble import Ensemble
from asmil.errors import ConfigError
from asmil.files import Facts
from asmil.settings import ABOUT, Group, Settings, changed, load_settings

MUST = ("encoder", "mpp", "tile_px", "overlap_px")
"""What features have to state, all the same, before slides can be prepared as they were."""
MAY = ("min_tissue", "tissue_method")
"""What may differ slide by slide: by default as usual, where some of the run's are so."""


def settings_for_new(own: Settings, given: Facts) -> Settings:
    """The settings of a run, without what is about its own slides and its own machine, and over them what was given.

    Raises:
        ConfigError: neither slides nor features are given, or both; or the output folder is the run itself.
    """
    typed = {name: value for name, value in given.items() if value is not None}
    if ("slides" in typed) == ("features" in typed):
        raise ConfigError("predict needs slides or features", fix="give --slides FOLDER, or --features FOLDER")
    left_out = {name for name, about in ABOUT.items() if about.group in (Group.SOURCE, Group.SCALE, Group.EXTRACTION)}
    recipe = own.model_dump(exclude=left_out | {"slide_settings", "also_encoder", "device"})
    settings = load_settings(None, recipe | typed, flags=False)
    if settings.out.resolve() == own.out.resolve():
        raise ConfigError("--out is the run itself, whose predictions.csv would be lost", fix="choose another --out")
    return settings


def as_the_run(ensemble: Ensemble, settings: Settings, *, chosen: Sequence[str]) -> Settings:
    """Settings by which slides are prepared as the run's were: its own, or what the features say that it was given.

    Args:
        chosen: settings that somebody gave; of tiles and encoder they have to be the run's.

    Raises:
        ConfigError: others were given, or the features of the run do not say how they were made.
    """
    own = ensemble.run.settings
    made: Facts = {name: getattr(own, name) for name in (*MUST, *MAY)}
    if own.features is not None:
        known = ensemble.preprocessing.values
        made = {name: known[name][0] for name in MUST if len(known.get(name, ())) == 1}
        if lacking := [name for name in MUST if name not in made]:
            raise ConfigError(
                "the run was trained on features that do not say how slides are prepared for it",
                found=f"of {', '.join(lacking)} nothing, or several values",
                fix="make features of the new slides as those were made, and give them by --features; where the run's "
                "were moved, --run-features FOLDER",
            )
        for name in MAY:
            stated = known.get(name) or [getattr(settings, name)]
            made[name] = getattr(settings, name) if getattr(settings, name) in stated else stated[0]
        if len(known.get("exclude", ())) == 1:
            made["exclude_tiles"] = known["exclude"][0]
    other = {name: value for name, value in made.items() if name in chosen and getattr(settings, name) != value}
    if other:
        raise ConfigError(
            "tiles and encoder of new slides are the run's, and cannot be chosen",
            found=", ".join(f"{name} {getattr(settings, name)}, the run's is {value}" for name, value in other.items()),
            fix="leave it out",
        )
    return changed(settings, {name: value for name, value in made.items() if name not in chosen})
