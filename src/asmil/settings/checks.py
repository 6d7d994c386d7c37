"""Every problem of slides, features, labels, annotations and splits, named before a run."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from asmil.annotations import MaskLabels, find_annotation, read_annotations, require_classes, unused_annotations
from asmil.bags import Cohort, FeatureInfo, SlideNames, Twin, find_twins, listed, open_features, require_apart
from asmil.extraction import find_duplicates
from asmil.progress import Listener, Outcome
from asmil.settings.inputs import note_tables, read_tables, slide_mpp_of, splits_of, tell_tables
from asmil.settings.settings import Settings
from asmil.slides import Slide, SlideFile, name_of, scan_slides, slide_files
from asmil.tiles import Bounds

PROBE_PX = 256
Known = tuple[tuple[int, int] | None, float | None, Bounds | None]
"""Width and height of a slide in level-0 pixels, its um per pixel, and its scanned part, as far as they are known."""


def check_inputs(config: Settings, hear: Listener, tell: Callable[[str], None]) -> Outcome:
    """Every problem of the inputs: labels first, then the files they name, annotations, and the splits.

    What the labels decide is not checked where they cannot be read. `tell` is told how the files were read, line by
    line. Nothing is written but the index of a large store.
    """
    outcome = Outcome()
    cohort = None
    with outcome.attempt("labels", stage="labels"):
        cohort = read_tables(config)
    usable, twins = dict[str, Known](), list[Twin]()
    if config.features:
        usable, twins = _check_features(config, cohort, outcome=outcome, tell=tell)
    elif config.slides:
        usable = _check_slides(config, cohort, outcome=outcome, hear=hear, tell=tell)
    else:
        outcome.failed("slides", stage="open", reason="neither --slides nor --features is given")
    if cohort is None:
        return outcome
    if config.annotations:
        _check_annotations(config, cohort, known=usable, outcome=outcome)
    with outcome.attempt("splits", stage="splits"):
        matched = cohort.match(usable)
        note_tables(outcome, labelled=cohort, matched=matched)
        splits = splits_of(config, matched)
        for sentence in splits.one_class_tests(cohort):
            outcome.noted("folds", stage="splits", reason=sentence)
        for sentence in require_apart(splits, twins, allow=config.allow_duplicates):
            outcome.noted("duplicates", stage="splits", reason=sentence)
    return outcome


def _check_features(
    config: Settings, cohort: Cohort | None, *, outcome: Outcome, tell: Callable[[str], None]
) -> tuple[dict[str, Known], list[Twin]]:
    """The slides whose feature files are sound, and what these say of them; and those of the same content."""
    with outcome.attempt("features", stage="features"):
        store = open_features(config.features or Path())
        if cohort is not None:
            tell_tables(cohort, store.slides, tell, store=store)
        prints, wrong = store.read_through(store.slides)
        for problem in [*store.problems, *wrong]:
            outcome.failed(problem.slide or str(problem.path), stage="features", reason=problem.what)
        sound = list(prints)
        outcome.ok(*sound)
        infos = [store.info(name) for name in sound]
        for line in _of_features(infos):
            tell(line)
        known = {info.slide: (info.slide_size, info.slide_mpp, info.bounds) for info in infos}
        return known, find_twins(prints, store.array)
    return {}, []


def _check_slides(
    config: Settings, cohort: Cohort | None, *, outcome: Outcome, hear: Listener, tell: Callable[[str], None]
) -> dict[str, Known]:
    """The slides that open, have a scale, and can be read in the middle and at the end; their sizes and scales."""
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
    usable, opened = dict[str, Known](), []
    with hear.stage("check", total=len(slides)) as advance:
        for slide in slides:
            row = (labelled.find_or_file(slide.name) or [""])[0]
            with outcome.attempt(slide.name, stage="open"):
                opened.append(_probe(slide, mpp=own_mpp.get(row, config.slide_mpp), config=config))
                if row:
                    outcome.ok(slide.name)
                    usable[slide.name] = opened[-1].size, opened[-1].mpp, opened[-1].bounds
                else:
                    outcome.noted(slide.name, stage="labels", reason="no row in the table of labels")
            advance(1)
    for line in _of_slides(opened):
        tell(line)
    return usable


def _probe(file: SlideFile, *, mpp: float | None, config: Settings) -> Slide:
    """The slide, closed, which opened and could be read."""
    with file.open(mpp=mpp, objective=None if mpp else config.objective, reader=config.reader) as slide:
        if "mpp" in config.model_fields_set:
            slide.level_for(config.mpp)  # a slide that is coarser cannot be tiled at this scale
        for share in (0.5, 1.0):  # a file that was cut short opens, and ends too early
            corner = tuple(max(0, int(side * share) - PROBE_PX) for side in slide.size)
            slide.read(corner, PROBE_PX, mpp=slide.mpp)
    return slide


def _check_annotations(config: Settings, cohort: Cohort, *, known: dict[str, Known], outcome: Outcome) -> None:
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
    """Note the annotation files that are of none of these slides: they are not looked at."""
    unused = unused_annotations(config.annotations, slides) if config.annotations is not None else []
    if unused:
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


def _of_slides(slides: Iterable[Slide]) -> list[str]:
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
