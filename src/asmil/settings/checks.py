"""Every problem of slides, features, labels, annotations and splits, named before a run."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from asmil.bags import (
    FEWEST,
    Cohort,
    FeatureInfo,
    Fingerprint,
    SlideNames,
    Twin,
    find_twins,
    fingerprint,
    landmark_scales,
    landmarks,
    listed,
    odd_tiles,
    open_features,
    require_apart,
    require_one_encoder,
    require_one_size,
    several_scales,
)
from asmil.encoders import card
from asmil.progress import Listener, Outcome, require_trackers
from asmil.settings.inputs import (
    check_recipe,
    note_tables,
    places_for,
    read_tables,
    require_place,
    slide_mpp_of,
    splits_of,
    tell_tables,
)
from asmil.settings.settings import ABOUT, Group, Settings

if TYPE_CHECKING:
    from asmil.slides import Slide, SlideFile
    from asmil.tiles import Bounds

PROBE_PX, MOST_LOOKED_AT = 256, 1 << 26
"""Side of what is read of a slide in its middle and at its end, and pixels of a level that is read as a whole."""
OF_MODELS = {Group.TASK, Group.MODEL, Group.STABILISER, Group.TRAINING, Group.MACHINE}
"""Where none of these is given, the model that is trained fits any features, and torch need not be imported."""
Known = tuple[tuple[int, int] | None, float | None, "Bounds | None"]
"""Width and height of a slide in level-0 pixels, its um per pixel, and its scanned part, as far as they are known."""


def check_inputs(config: Settings, hear: Listener, tell: Callable[[str], None]) -> Outcome:
    """Every problem of the inputs: labels first, then the files they name, the model, annotations, and the splits; and
    of a place that was named for the outputs.

    What the labels decide is not checked where they cannot be read. `tell` is told how the files were read, line by
    line. Nothing is written but the index of a large store.
    """
    outcome = Outcome()
    if "out" in config.model_fields_set:
        with outcome.attempt("out", stage="out"):
            require_place(config)
    with outcome.attempt("log-to", stage="out"):
        require_trackers(config.log_to)
    cohort = None
    with outcome.attempt("labels", stage="labels"):
        cohort = read_tables(config)
    usable, twins, width = dict[str, Known](), list[Twin](), None
    if config.features:
        usable, twins, width = _check_features(config, cohort, outcome=outcome, hear=hear, tell=tell)
    elif config.slides:
        usable, twins = _check_slides(config, cohort, outcome=outcome, hear=hear, tell=tell)
        with outcome.attempt("encoder", stage="model"):
            width = card(config.encoder).dim
    else:
        outcome.failed("slides", stage="open", reason="neither --slides nor --features is given")
    if cohort is None:
        return outcome
    if width is not None and any(ABOUT[name].group in OF_MODELS for name in config.model_fields_set):
        with outcome.attempt("model", stage="model"):
            check_recipe(config, cohort, width=width)
    if config.annotations:
        _check_annotations(config, cohort, known=usable, outcome=outcome)
    if not usable:  # why was said of features or slides, and nothing is to be split
        return outcome
    with outcome.attempt("splits", stage="splits"):
        matched = cohort.match(usable)
        note_tables(outcome, labelled=cohort, matched=matched)
        if config.bag == "patient":
            from asmil.bags import require_one_answer  # with torch, which other checks do without

            require_one_answer(matched)
        splits = splits_of(config, matched)
        for sentence in splits.remarks(matched):
            outcome.noted("folds", stage="splits", reason=sentence)
        for sentence in require_apart(splits, twins, allow=config.allow_duplicates):
            outcome.noted("duplicates", stage="splits", reason=sentence)
    return outcome


def _check_features(
    config: Settings, cohort: Cohort | None, *, outcome: Outcome, hear: Listener, tell: Callable[[str], None]
) -> tuple[dict[str, Known], list[Twin], int | None]:
    """The slides whose feature files are sound, and what these say of them; those of the same content; and how many
    features a tile has."""
    width = None
    with outcome.attempt("features", stage="features"):
        store = open_features(config.features or Path(), encoder=config.features_encoder)
        width = store.dim
        if cohort is not None:
            tell_tables(cohort, store.slides, tell, store=store)
        with hear.stage("read the features", total=len(store.slides)) as advance:
            prints, wrong = store.read_through(store.slides, progress=advance)
        for problem in [*store.problems, *wrong]:
            outcome.failed(problem.slide or str(problem.path), stage="features", reason=problem.what)
        sound = list(prints)
        outcome.ok(*sound)
        infos = [store.info(name) for name in sound]
        with outcome.attempt("encoders", stage="features"):
            require_one_encoder(infos)
            for sentence in several_scales(infos):
                outcome.noted("scales", stage="features", reason=sentence)
            for sentence in require_one_size(prints):
                outcome.noted("sizes", stage="features", reason=sentence)
        with outcome.attempt("tiles", stage="features"):
            for sentence in odd_tiles(prints, places_for=places_for(config)):
                outcome.noted("tiles", stage="features", reason=sentence)
        for line in _of_features(infos):
            tell(line)
        known = {info.slide: (info.slide_size, info.slide_mpp, info.bounds) for info in infos}
        return known, find_twins(prints, store.array), width
    return {}, [], width


def _check_slides(
    config: Settings, cohort: Cohort | None, *, outcome: Outcome, hear: Listener, tell: Callable[[str], None]
) -> tuple[dict[str, Known], list[Twin]]:
    """The slides that open, have a scale, and can be read in the middle and at the end, their sizes and scales; and
    those of the same content."""
    from asmil.extraction import find_duplicates
    from asmil.slides import name_of, scan_slides, slide_files

    paths: list[Path] = []
    with outcome.attempt("slides", stage="open"):
        paths = scan_slides(config.slides or Path())
    for first, *others in find_duplicates(paths):
        for other in others:
            outcome.skipped(
                name_of(other), stage="open", reason=f"the same content as {first.name}: keep one of the two"
            )
    if cohort is not None:
        tell_tables(cohort, [name_of(path) for path in paths], tell, encoder=config.encoder)
    own_mpp = slide_mpp_of(cohort) if cohort is not None else {}
    slides = slide_files(paths, scenes=config.scenes, reader_of=lambda path: config.reader)
    labelled = SlideNames(cohort.slides if cohort is not None else (slide.name for slide in slides))
    usable, opened, looks = dict[str, Known](), list["Slide"](), _Looks()
    with hear.stage("check", total=len(slides)) as advance:
        for slide in slides:
            row = (labelled.find_or_file(slide.name) or [""])[0]
            with outcome.attempt(slide.name, stage="open"):
                with _opened(slide, mpp=own_mpp.get(row, config.slide_mpp), config=config) as found:
                    _probe(found, config)
                    if row:
                        looks.take(found, partial(_opened, slide, mpp=found.mpp, config=config))
                opened.append(found)
                if row:
                    outcome.ok(slide.name)
                    usable[slide.name] = found.size, found.mpp, found.bounds
                else:
                    outcome.noted(slide.name, stage="labels", reason="no row of the table of labels is used for it")
            advance(1)
    for line in [*_of_slides(opened), *looks.lines()]:
        tell(line)
    with outcome.attempt("duplicates", stage="open"):
        return usable, looks.twins()
    return usable, []


def _opened(file: "SlideFile", *, mpp: float | None, config: Settings) -> "Slide":
    return file.open(mpp=mpp, objective=None if mpp else config.objective, reader=config.reader)


def _probe(slide: "Slide", config: Settings) -> None:
    if "mpp" in config.model_fields_set:
        slide.level_for(config.mpp)  # a slide that is coarser cannot be tiled at this scale
    for share in (0.5, 1.0):  # a file that was cut short opens, and ends too early
        corner = tuple(max(0, int(side * share) - PROBE_PX) for side in slide.size)
        slide.read(corner, PROBE_PX, mpp=slide.mpp)


class _Looks:
    """The fingerprints of slides as thumbnails show them, by scale: the same slide is found saved anew or cropped."""

    def __init__(self) -> None:
        self._prints: dict[float, dict[str, Fingerprint]] = defaultdict(dict)
        self._open: dict[str, Callable[[], Slide]] = {}
        self._without: list[str] = []

    def take(self, slide: "Slide", again: Callable[[], "Slide"]) -> None:
        """Look at a slide, unless it has no small level; `again` opens it where it has to be compared."""
        finer, coarser = landmark_scales(slide.size, slide.mpp)
        self._open[slide.name] = again
        if prod(slide.levels[slide.level_for(finer)].size) > MOST_LOOKED_AT:
            self._without.append(slide.name)
            return
        pixels = slide.thumbnail_at(finer)
        for mpp, picture in ((finer, pixels), (coarser, _halved(pixels))):
            if len(found := landmarks(picture)) >= FEWEST:
                self._prints[mpp][slide.name] = fingerprint(found)

    def twins(self) -> list[Twin]:
        """Slides of the same content, each pair once."""
        found: dict[tuple[str, str], Twin] = {}
        for mpp, prints in self._prints.items():
            for twin in find_twins(prints, partial(self._load, mpp)):
                found.setdefault(twin[:2], twin._replace(parts="landmarks"))
        return list(found.values())

    def lines(self) -> list[str]:
        """Which slides were not looked at."""
        what = "not compared by what they show, having no small level"
        return _lines({what: self._without}) if self._without else []

    def _load(self, mpp: float, name: str) -> np.ndarray:
        with self._open[name]() as slide:
            finer, _ = landmark_scales(slide.size, slide.mpp)
            pixels = slide.thumbnail_at(finer)
        return landmarks(pixels if mpp == finer else _halved(pixels))


def _halved(pixels: np.ndarray) -> np.ndarray:
    height, width = (side // 2 * 2 for side in pixels.shape[:2])
    halves = pixels[:height, :width].reshape(height // 2, 2, width // 2, 2, 3)
    return halves.mean((1, 3)).round().astype(np.uint8)


def _check_annotations(config: Settings, cohort: Cohort, *, known: dict[str, Known], outcome: Outcome) -> None:
    from asmil.annotations import MaskLabels, find_annotation, read_annotations, require_classes

    labels = MaskLabels.parsed(config.mask_class, mpp=config.mask_mpp)
    found = []
    for name in cohort.slides:
        size, mpp, bounds = known.get(name, (None, None, None))
        with outcome.attempt(name, stage="annotations"):
            path = find_annotation(config.annotations or Path(), name)
            if path is not None:
                drawn = read_annotations(
                    path, slide_size=size, slide_mpp=mpp or config.slide_mpp, bounds=bounds, labels=labels
                )
                found.append(drawn)
    with outcome.attempt("annotations", stage="annotations"):
        require_classes(found, config.positive)
    note_unused(config, cohort.slides, outcome)


def note_unused(config: Settings, slides: Iterable[str], outcome: Outcome) -> None:
    """Note the annotation files that are of none of these slides, and what has no effect for want of a setting."""
    if config.annotations is None:
        flags = {"--positive": config.positive, "--froc": config.froc}
        if idle := [flag for flag, given in flags.items() if given]:
            reason = f"{' and '.join(idle)} without effect: there are no annotations (--annotations FOLDER)"
            outcome.noted("annotations", stage="annotations", reason=reason)
        return
    if not config.positive:
        reason = "attention is not measured against them: name the class that is looked for, --positive CLASS"
        outcome.noted("annotations", stage="annotations", reason=reason)
    from asmil.annotations import unused_annotations

    if unused := unused_annotations(config.annotations, slides):
        files = f"{len(unused)} files are" if len(unused) > 1 else "1 file is"
        reason = f"{files} of no slide here: {listed([path.name for path in unused])}"
        outcome.noted("annotations", stage="annotations", reason=reason)


# What was inferred of feature files and by what slides were read, in lines that say each thing once.

_COORDINATES = {
    "level0": "coordinates in level-0 pixels",
    "um": "coordinates in micrometres",
    None: "no coordinates",
}


def _of_features(infos: Iterable[FeatureInfo]) -> list[str]:
    """A line per kind of file (format, encoder, scale), then what was inferred, each with its number of slides."""
    kinds: dict[str, list[str]] = defaultdict(list)
    notes: dict[str, list[str]] = defaultdict(list)
    for info in infos:
        side = None if info.tile_level0_px is None else f"tiles of {info.tile_level0_px:g} level-0 px"
        um = None if info.tile_um is None else f"{info.tile_um:g} um wide"
        scale = None if info.mpp is None else f"at {info.mpp:.3g} um/px"
        flags = f"flags {', '.join(info.quality)}" if info.quality else None
        facts = (f"{info.dim} x {info.dtype}", _COORDINATES[info.coordinates], side, um, scale, flags)
        kind = ", ".join(fact for fact in (f"encoder {info.encoder or 'not said'}", *facts) if fact)
        kinds[f"{info.format}: {kind}"].append(info.slide)
        for note in info.notes:
            notes[note].append(info.slide)
    return _lines(kinds) + [f"  {line}" for line in _lines(notes)]


def _of_slides(slides: Iterable["Slide"]) -> list[str]:
    """A line per reader, then why the readers before it did not open them, each with its slides."""
    readers: dict[str, list[str]] = defaultdict(list)
    reasons: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for slide in slides:
        readers[slide.reader].append(slide.name)
        for other, reason in slide.passed_over.items():
            reasons[slide.reader][f"not {other}: {reason.replace(str(slide.path), 'the file')}"].append(slide.name)
    lines = []
    for reader, names in readers.items():
        lines += _lines({f"reader {reader}": names})
        lines += [f"  {line}" for line in _lines(reasons[reader])]
    return lines


def _lines(found: Mapping[str, list[str]]) -> list[str]:
    return [f"{what} [{len(names)}: {listed(sorted(names), 3)}]" for what, names in found.items()]
