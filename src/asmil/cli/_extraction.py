"""Extraction as the commands call it: settings to work, workers, a progress line, and what became of every slide."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from asmil.cli._outcome import Outcome
from asmil.cli._progress import progress
from asmil.cli._stages import device_of, slide_mpp_of
from asmil.config import RunConfig
from asmil.errors import ConfigError

if TYPE_CHECKING:
    from asmil.bags import Cohort
    from asmil.extraction import Extraction, ExtractSettings, Record
    from asmil.slides import SlideFile


def extract(
    files: Iterable[Path],
    folder: Path,
    *,
    config: RunConfig,
    outcome: Outcome,
    cohort: "Cohort | None" = None,
) -> list[Path]:
    """Tissue, tiles and features of every slide in some files; what is wrong with one is noted, and the others go on.

    Of a cohort only its slides, at the scale its table states. Returns the folder of each encoder's features, none
    where no slide was worked on.
    """
    from asmil.extraction import exit_on_sigterm, extract_folder, note_duplicates, start_time

    files = list(files)
    since = start_time(folder)
    own = _own_settings(config, files, cohort=cohort)
    slides = slides_in(shard_of(files, config.shard), config=config, own_settings=own)
    if cohort is not None:
        slides = _labelled(slides, cohort, outcome)
        files = list(dict.fromkeys(slide.path for slide in slides))
    _tell_duplicates(note_duplicates(folder, files))
    job = _work(slides, folder, config=config, own_settings=own, since=since)
    workers = _workers(config, job.device)
    exit_on_sigterm()
    stores: list[str] = []
    done: list[Record] = []
    with progress("extract", total=len(slides), unit="slides", parts="tiles") as advance:

        def tell(tiles: int, waiting: float) -> None:
            advance(0, parts=tiles, waiting=waiting / workers)

        for records in extract_folder(job, engine=config.engine, workers=workers, progress=tell):
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
        typer.echo(f"note: {note}", err=True)
    return [folder / "features" / store for store in stores]


def _notes(records: "list[Record]") -> Iterator[str]:
    """What there is to know of slides that went well."""
    from asmil.extraction import UNSTAINED

    tiles, unstained = sum(record.tiles for record in records), 0
    for record in records:
        if record.reason:
            yield f"{record.slide}: {record.reason}"
        own = record.flags.get(UNSTAINED, 0)
        unstained += own
        if own > record.tiles / 2:
            yield f"{record.slide}: the stain of {own} of its {record.tiles} tiles was left as it was"
    if unstained:
        why = "they have too little, or the method finds no answer; by slide in state.csv"
        yield f"the stain of {unstained} of {tiles} tiles was left as it was: {why}"


def extract_settings(config: RunConfig) -> "ExtractSettings":
    """What decides the features of every slide that has no settings of its own."""
    from asmil.extraction import ExtractSettings

    same = ("mpp", "tile_px", "overlap_px", "min_tissue", "tissue_method", "slide_mpp", "objective", "reader")
    return ExtractSettings(**{name: getattr(config, name) for name in same}, exclude=tuple(config.exclude_tiles))


def slides_in(files: list[Path], *, config: RunConfig, own_settings: dict[str, dict[str, Any]]) -> "list[SlideFile]":
    """The slides in some files: every scene of a file of several is one, unless the first is asked for."""
    from asmil.extraction import settings_of
    from asmil.slides import slide_files

    default = extract_settings(config)
    return slide_files(
        files,
        scenes=config.scenes,
        reader_of=lambda path: settings_of(path.stem, default=default, table=own_settings).reader,
    )


def shard_of(slides: list[Path], shard: str | None) -> list[Path]:
    """Every n-th file of the sorted list, beginning with the i-th; "slurm" takes both from the job array.

    Raises:
        ConfigError: "slurm" outside a job array, or the array has gaps.
    """
    if shard is None:
        return slides
    if shard != "slurm":
        part, parts = map(int, shard.split("/"))
        return slides[part - 1 :: parts]
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
    return slides[part::parts]


def _work(
    slides: "list[SlideFile]", folder: Path, *, config: RunConfig, own_settings: dict[str, dict[str, Any]], since: float
) -> "Extraction":
    from asmil.extraction import EncoderChoice, Extraction

    remote = config.engine == "ray" and config.device.startswith("cuda")  # the GPUs are elsewhere
    return Extraction(
        slides=tuple(slides),
        folder=folder,
        encoders=tuple(
            EncoderChoice(
                name,
                weights=config.weights,
                precision=None if config.encoder_precision == "auto" else config.encoder_precision,
                stain=config.stain,
                stain_target=config.stain_target,
            )
            for name in dict.fromkeys([config.encoder, *config.also_encoder])
        ),
        settings=extract_settings(config),
        own_settings=own_settings,
        since=since,
        batch_size=config.tile_batch,
        device=config.device if remote else device_of(config),
    )


def _own_settings(config: RunConfig, files: list[Path], *, cohort: "Cohort | None") -> dict[str, dict[str, Any]]:
    """Settings by slide or file: the scale in the table of labels, and over it the table of settings."""
    from asmil.bags import SlideNames

    slide_mpp = {} if cohort is None else slide_mpp_of(cohort)
    rows = SlideNames(slide_mpp)
    slide_mpp |= {file.stem: slide_mpp[row[0]] for file in files if (row := rows.find(file.stem))}
    own: dict[str, dict[str, Any]] = {name: {"slide_mpp": mpp, "objective": None} for name, mpp in slide_mpp.items()}
    if config.slide_settings:
        from asmil.extraction import read_slide_table

        for name, values in read_slide_table(config.slide_settings, slides=[file.stem for file in files]).items():
            own[name] = own.get(name, {}) | values
    return own


def _labelled(slides: "list[SlideFile]", cohort: "Cohort", outcome: Outcome) -> "list[SlideFile]":
    """The slides that have a row in the table of labels, or whose file has."""
    from asmil.bags import SlideNames

    rows = SlideNames(cohort.slides)
    found = [slide for slide in slides if rows.find_or_file(slide.name)]
    for slide in set(slides).difference(found):
        outcome.skipped(slide.name, stage="labels", reason="this slide has no row in the table of labels")
    return found


def _workers(config: RunConfig, device: str) -> int:
    """As told; else one per GPU, where it was not said which."""
    if config.slide_workers or device != "cuda" or config.engine == "ray":
        return config.slide_workers or 1
    import torch

    return torch.cuda.device_count()


def _tell_duplicates(groups: list[tuple[Path, ...]]) -> None:
    """Warn of slides that are equal: each keeps its features, but in a split they are a leak."""
    for group in groups:
        names = ", ".join(str(path) for path in group)
        typer.echo(f"warning: the same slide under several names: {names}", err=True)
    if groups:
        typer.echo("fix:     keep one of each, or give them the same case, so that a split cannot part them", err=True)
