"""Extraction as settings ask for it: slides to work, workers, progress, and what became of every slide."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from asmil.errors import ConfigError, FeatureError, RunError, as_typed
from asmil.files import Facts
from asmil.progress import FAILURES, Listener, Outcome
from asmil.settings.inputs import device_of, extract_settings, slide_mpp_of
from asmil.settings.settings import Settings

if TYPE_CHECKING:
    from asmil.bags import Cohort, FeatureStore
    from asmil.extraction import Extraction, Record
    from asmil.slides import SlideFile

Own = dict[str, Facts]
"""By slide or file: fields of ExtractSettings that it has for itself."""


def extract_folder(
    files: Sequence[Path],
    folder: Path,
    *,
    settings: Settings,
    outcome: Outcome,
    hear: Listener,
    cohort: "Cohort | None" = None,
) -> list[Path]:
    """Tissue, tiles and features of every slide in some files; what is wrong with one is noted, and the others go on.

    Of a cohort only its slides, at the scale its table states. Returns the folder of each encoder's features, none
    where no slide was worked on.
    """
    from asmil import extraction as room

    since = room.start_time(folder)
    own = _own_settings(settings, files, cohort=cohort)
    shard = shard_of(files, settings.shard)
    if files and not shard:
        fix = "no more shards than there are slides: each is a part of their files"
        raise ConfigError("no slide is in this shard", found=f"{settings.shard} of {len(files)} files", fix=fix)
    slides = slides_in(shard, settings=settings, own_settings=own)
    if cohort is not None:
        slides = _labelled(slides, cohort, outcome)
        files = list(dict.fromkeys(slide.path for slide in slides))
    _tell_duplicates(room.note_duplicates(folder, files), hear)
    work = _extraction(slides, folder, settings=settings, own_settings=own, since=since)
    workers = _workers(settings, work.device)
    stores: list[str] = []
    done: list[Record] = []
    with hear.stage("extract", total=len(slides), unit="slides", parts="tiles") as advance:

        def tell(tiles: int, waiting: float) -> None:
            advance(0, parts=tiles, waiting=waiting / workers)

        for records in room.extract_folder(work, engine=settings.engine, workers=workers, progress=tell):
            first, stores = records[0], [record.store for record in records]
            if first.result == "skipped":
                outcome.skipped(first.slide, stage=first.stage, reason=first.reason)
            elif first.result == "failed":
                outcome.failed(first.slide, stage=first.stage, reason=first.reason)
            else:
                outcome.ok(first.slide)
                done.append(first)
            advance(1)
    for note in _notes(done):
        hear.note(note)
    return [folder / room.FEATURES / store for store in stores]


def require_some(stores: Sequence[Path], outcome: Outcome, hear: Listener) -> None:
    """Refuse to go on without any slide that has features; what became of them is told.

    Raises:
        RunError: there is none.
    """
    if outcome.counts["ok"] == 0 or not stores:
        hear.closing(outcome)
        first = next((f"{row.name}: {row.reason}" for row in outcome.set_aside), "no slide with a label")
        raise RunError("no slide could be used", found=f"{outcome}; {first}", fix=f"see {FAILURES}, or `asmil check`")


def lost_of(store: "FeatureStore", outcome: Outcome) -> dict[str, str]:
    """The slides of a store that extraction lost now, each with the reason.

    What lies there of one is of before: of another file of its name, or of other outlines.
    """
    from asmil.bags import SlideNames

    reasons = {row.name: row.reason for row in outcome.set_aside}
    names = SlideNames(reasons)
    found = {slide: names.find_or_file(slide) for slide in store.slides}
    return {slide: reasons[rows[0]] for slide, rows in found.items() if rows}


def _notes(records: "list[Record]") -> Iterator[str]:
    """What there is to know of slides that went well."""
    from asmil.bags import listed
    from asmil.extraction import UNSTAINED

    tiles, unstained = sum(record.tiles for record in records), 0
    said: dict[str, list[str]] = {}
    for record in records:
        if record.reason:
            said.setdefault(record.reason, []).append(record.slide)
    for reason, slides in said.items():
        yield f"{slides[0]}: {reason}" if len(slides) == 1 else f"{reason} [{len(slides)}: {listed(slides)}]"
    for record in records:
        own = record.flags.get(UNSTAINED, 0)
        unstained += own
        if own > record.tiles / 2:
            yield f"{record.slide}: the stain of {own} of its {record.tiles} tiles was left as it was"
    if unstained:
        why = "they have too little, or the method finds no answer; by slide in state.csv"
        yield f"the stain of {unstained} of {tiles} tiles was left as it was: {why}"


def slides_in(files: Iterable[Path], *, settings: Settings, own_settings: Own) -> "list[SlideFile]":
    """The slides in some files: every scene of a file of several is one, unless the first is asked for."""
    from asmil.extraction import settings_of
    from asmil.slides import name_of, slide_files

    default = extract_settings(settings)
    return slide_files(
        files,
        scenes=settings.scenes,
        reader_of=lambda path: settings_of(name_of(path), default=default, table=own_settings).reader,
    )


def shard_of(slides: Sequence[Path], shard: str | None) -> list[Path]:
    """Every n-th file of the sorted list, beginning with the i-th; "slurm" takes both from the job array.

    Raises:
        ConfigError: "slurm" outside a job array, or the array has gaps.
    """
    if shard is None:
        return list(slides)
    if shard != "slurm":
        part, parts = map(int, shard.split("/"))
        return list(slides[part - 1 :: parts])
    try:
        number, first, parts = (int(os.environ[f"SLURM_ARRAY_TASK_{name}"]) for name in ("ID", "MIN", "COUNT"))
    except (KeyError, ValueError) as error:
        raise ConfigError(
            "--shard slurm needs a job array", found=f"no {error}", fix="sbatch --array=1-16, or --shard i/n"
        ) from error
    part, rest = divmod(number - first, int(os.environ.get("SLURM_ARRAY_TASK_STEP") or 1))
    if rest or not 0 <= part < parts:
        found = f"task {number} of {parts} that begin with {first}"
        raise ConfigError("the job array has gaps", found=found, fix="sbatch --array=1-16, or --shard i/n")
    return list(slides[part::parts])


def _extraction(
    slides: "list[SlideFile]", folder: Path, *, settings: Settings, own_settings: Own, since: float
) -> "Extraction":
    from asmil.extraction import EncoderChoice, Extraction

    remote = settings.engine == "ray" and settings.device.startswith("cuda")  # the GPUs are elsewhere
    return Extraction(
        slides=tuple(slides),
        folder=folder,
        encoders=tuple(
            EncoderChoice(
                name,
                weights=settings.weights,
                precision=None if settings.encoder_precision == "auto" else settings.encoder_precision,
                stain=settings.stain,
                stain_target=settings.stain_target,
            )
            for name in dict.fromkeys([settings.encoder, *settings.also_encoder])
        ),
        settings=extract_settings(settings),
        own_settings=own_settings,
        since=since,
        batch_size=settings.tile_batch,
        device=settings.device if remote else device_of(settings.device),
    )


def _own_settings(settings: Settings, files: Sequence[Path], *, cohort: "Cohort | None") -> Own:
    """Settings by slide or file: the scale in the table of labels, and over it the table of settings."""
    from asmil.bags import SlideNames
    from asmil.slides import name_of

    slide_mpp = {} if cohort is None else slide_mpp_of(cohort)
    rows = SlideNames(slide_mpp)
    slide_mpp |= {name: slide_mpp[row[0]] for name in map(name_of, files) if (row := rows.find(name))}
    own: Own = {name: {"slide_mpp": mpp, "objective": None} for name, mpp in slide_mpp.items()}
    if settings.slide_settings:
        from asmil.extraction import read_slide_table

        for name, values in read_slide_table(settings.slide_settings, slides=[name_of(file) for file in files]).items():
            own[name] = own.get(name, {}) | values
    return own


def _labelled(slides: "list[SlideFile]", cohort: "Cohort", outcome: Outcome) -> "list[SlideFile]":
    """The slides that have a row in the table of labels, or whose file has."""
    from asmil.bags import SlideNames

    rows = SlideNames(cohort.slides)
    found = [slide for slide in slides if rows.find_or_file(slide.name)]
    for slide in set(slides).difference(found):
        outcome.noted(slide.name, stage="labels", reason="no row of the table of labels is used for it")
    return found


def _workers(settings: Settings, device: str) -> int:
    """As told; else one per GPU, where it was not said which."""
    if settings.slide_workers or device != "cuda" or settings.engine == "ray":
        return settings.slide_workers or 1
    import torch

    return torch.cuda.device_count()


def _tell_duplicates(groups: list[tuple[Path, ...]], hear: Listener) -> None:
    """Warn of slides that are equal: each keeps its features, but in a split they are a leak."""
    fix = "keep one of each; where both are trained on, give them the same case, so that a split cannot part them"
    for group in groups:
        hear.warn(f"the same slide under several names: {', '.join(str(path) for path in group)}", fix=fix)


def note_earlier(folder: Path, written: Sequence[str], hear: Listener) -> None:
    """Say which features in an output folder are not of this call: who trains on the folder would take them, too."""
    from asmil.bags import listed, open_features

    try:
        store = open_features(folder)
    except FeatureError as error:
        hear.warn(str(error))
        return
    others = sorted(
        {*store.slides, *(problem.slide for problem in store.problems if problem.slide)}.difference(written)
    )
    if others:
        fix = (
            f"move away what is not wanted, or choose another --out: {as_typed('asmil', 'check', '--features', folder)}"
        )
        hear.warn(f"{folder} also holds features that this call did not write: {listed(others, 3)}", fix=fix)
    for problem in store.problems:
        if problem.slide in written:
            hear.warn(f"{problem.slide} was written, and cannot be used: {problem.what}")
