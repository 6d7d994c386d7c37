"""What the settings name, opened and checked: whatever can be known wrong is known here, and nothing is written."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from asmil.errors import AsmilError, CohortError, ConfigError, EncoderError, SplitError, as_typed
from asmil.machine import cores
from asmil.progress import require_trackers
from asmil.settings.settings import Group, Settings

if TYPE_CHECKING:
    from asmil.bags import Cohort, FeatureStore, Splits, TableOptions
    from asmil.extraction import ExtractSettings
    from asmil.progress import Listener, Outcome
    from asmil.tasks import Task
    from asmil.training import Recipe


@dataclass(frozen=True)
class Inputs:
    """The labelled slides as the tables have them, and either features or the files of slides."""

    labelled: "Cohort"
    store: "FeatureStore | None" = None
    files: tuple[Path, ...] = ()


def open_inputs(settings: Settings, hear: "Listener") -> Inputs:
    """Open what a run learns from, and try all that it names: model, task, folds, device, and parts of extraction.

    `hear` is told first how the tables were understood.

    Raises:
        AsmilError: what is wrong first, in this order: output folder, device, tables, features or slides, model, folds.
    """
    from asmil.slides import name_of

    require_place(settings)
    if len(set(settings.seed_list)) < len(settings.seed_list):
        raise ConfigError("a seed is given twice", found=f"{settings.seed_list}", fix="one model is trained of each")
    require_trackers(settings.log_to)
    device_of(settings.device)
    labelled = read_tables(settings)
    if settings.features is None:
        files = slide_files_of(settings)
        names = [name_of(file) for file in files]
        tell_tables(labelled, names, hear.note, encoder=settings.encoder)
        check_extraction(settings, files)
        check_recipe(settings, labelled, width=_encoder_width(settings))
        check_folds(settings, labelled, names)
        return Inputs(labelled, files=tuple(files))
    from asmil.bags import open_features

    store = open_features(settings.features, encoder=settings.features_encoder)
    store.try_unread(labelled.slides)
    tell_tables(labelled, store.slides, hear.note, store=store)
    check_recipe(settings, labelled, width=store.dim)
    check_folds(settings, labelled, store.slides)
    return Inputs(labelled, store)


def check_truth(settings: Settings) -> None:
    """Raise an `AsmilError` where annotations cannot be found, or masks be read."""
    if settings.annotations is not None and not settings.annotations.is_dir():
        fix = "give the folder of the files, one for each slide, as --annotations"
        raise ConfigError("there are no annotations here", found=settings.annotations, fix=fix)
    if not settings.mask_class:
        return
    from asmil.annotations import MaskLabels  # and the readers of masks, which nothing else needs

    MaskLabels.parsed(settings.mask_class, mpp=settings.mask_mpp)


def require_place(settings: Settings) -> None:
    """Refuse an output folder that cannot be written to, or in which inputs would be taken for outputs, or these for
    inputs: pictures of tissue for slides, predictions for features.

    Raises:
        ConfigError: it cannot be written to, or is or lies in the folder of slides or features, or features lie in it.
    """
    require_writable(settings.out)
    out = settings.out.resolve()
    inputs = {"--slides": settings.slides, "--features": settings.features}
    for flag, given in ((flag, given) for flag, given in inputs.items() if given is not None):
        path = given.resolve()
        below = flag == "--features" and path.is_relative_to(out)
        if below or out.is_relative_to(path):
            place = "is" if path == out else "lies around" if below else "lies in"
            raise ConfigError(
                f"--out {settings.out} {place} the folder of {flag}",
                found=given,
                fix="choose another --out, apart from what is read",
            )


def require_writable(out: Path, *, called: str = "--out ", fix: str = "choose another --out") -> None:
    """Raise a `ConfigError` unless a folder can be made, or written to, at this path; `called` stands before it."""
    existing = next(path for path in (out.absolute(), *out.absolute().parents) if os.path.lexists(path))
    if not existing.is_dir():
        where = "is a file" if existing == out.absolute() else "lies below a file"
        raise ConfigError(f"{called}{out} {where}", found=existing, fix="name a folder, or one that can be made")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise ConfigError(f"{called}{out} cannot be written to", found=f"no right to write in {existing}", fix=fix)


def device_of(device: str) -> str:
    """The device to use: as told, else CUDA, MPS or the CPU, whichever there is.

    Raises:
        ConfigError: there is no such device here.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    number = int(device.partition(":")[2] or 0)
    if device.startswith("cuda") and number >= torch.cuda.device_count():
        raise ConfigError(
            f"there is no device {device} here",
            found=f"{torch.cuda.device_count()} CUDA devices, torch {torch.__version__}",
            fix="--device cpu, or see `asmil doctor`",
        )
    if device == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("there is no device mps here", found=f"torch {torch.__version__}", fix="--device cpu")
    return device


def workers_of(settings: Settings) -> int:
    """Training processes: as told, else one per core on a CPU, and one on a GPU."""
    return settings.workers or (cores() if device_of(settings.device) == "cpu" else 1)


def task_of(settings: Settings) -> "Task | None":
    """The task with its options; None for classification.

    Raises:
        UnknownPartError, ConfigError: no such task, or it has no such option.
    """
    from asmil.tasks import create_task

    own = {name: value for name, value in settings.of(Group.TASK).items() if name not in ("task", "task_options")}
    options = {name: value for name, value in (own | settings.task_options).items() if value != []}
    if settings.task != "classification":
        return create_task(settings.task, **options)
    if options:
        raise ConfigError(
            "classification has no options of a task",
            found=", ".join(options),
            fix="name it, for example --task ordinal",
        )
    return None


def read_tables(settings: Settings) -> "Cohort":
    """The cohort of the table of labels (and of slides).

    Raises:
        ConfigError: no table is named. CohortError: it cannot be used.
    """
    from asmil.bags import Problem, read_cohort

    if settings.labels is None:
        raise ConfigError("there is no table of labels", fix="give --labels FILE (csv, tsv or xlsx)")
    cohort = read_cohort(settings.labels, task=task_of(settings), **table_options(settings))
    own = [column for role, column in cohort.reading.columns.items() if role in ("fold", "part")]
    if own and settings.splits is None:
        use = as_typed("--splits", settings.labels)
        what = f"the column {' and '.join(own)} is not used, folds are drawn; {use} would use it"
        cohort.problems.append(Problem("", what))
    return cohort


def table_options(settings: Settings) -> "TableOptions":
    """How the tables of a run are to be read, as `read_cohort` takes it."""
    return {
        "slide_table": settings.slide_table,
        "label": settings.label,
        "slide_column": settings.slide_column,
        "case_column": settings.case_column,
        "site_column": settings.site_column,
        "classes": settings.classes or None,
        "spellings": settings.spellings,
    }


def splits_of(settings: Settings, cohort: "Cohort") -> "Splits":
    """The user's splits, checked, or ours.

    Raises:
        SplitError: they cannot be read, do not fit the cohort, or cannot be made.
    """
    from asmil.bags import make_splits, read_splits, spelled_alike, told_alike

    if settings.splits:
        return read_splits(settings.splits, cohort, val_fraction=settings.val_fraction)
    sites = cohort.table["site"] if settings.by_site and "site" in cohort.table else ()
    if settings.spellings == "ask" and (alike := spelled_alike(sites, patients=False)):
        fix = "correct the table, or give --spellings same, or --spellings different where they are different sites"
        raise SplitError("sites differ only in how they are written", found=told_alike(alike), fix=fix)
    return make_splits(cohort, folds=settings.folds, val_fraction=settings.val_fraction, by_site=settings.by_site)


def recipe_of(settings: Settings) -> "Recipe":
    """What is trained in every fold."""
    from asmil.training import Recipe, TrainSettings

    return Recipe(
        model=settings.model,
        model_options=settings.model_options,
        stabilizer=settings.of(Group.STABILISER) if settings.stabilize else None,
        settings=TrainSettings(**settings.fields_of(TrainSettings)),
        standardize=settings.standardize,
        refit=settings.refit,
        device=device_of(settings.device),
    )


def places_for(settings: Settings) -> str:
    """What the model needs the places of tiles for, in words; empty where it needs none."""
    if "model" not in settings.model_fields_set:  # the default needs none, and torch is not imported to ask
        return ""
    from asmil.models import MODELS

    with suppress(AsmilError):  # that there is no such model is told by who makes it
        return getattr(MODELS.module(settings.model), "NEEDS_PLACES", "")
    return ""


def extract_settings(settings: Settings) -> "ExtractSettings":
    """What decides the features of every slide that has no settings of its own."""
    from asmil.extraction import ExtractSettings

    own = settings.fields_of(ExtractSettings)
    return ExtractSettings(**own | {"exclude": tuple(own["exclude"])})


def slide_files_of(settings: Settings) -> list[Path]:
    """The slide files to work on.

    Raises:
        ConfigError: no folder is named, or there are none in it.
    """
    from asmil.slides import scan_slides

    if settings.slides is None:
        raise ConfigError("there are no slides", fix="give --slides FOLDER (or --features FOLDER, where that is taken)")
    files = scan_slides(settings.slides)
    if not files:
        others = Counter(path.suffix for path in settings.slides.rglob("*") if path.is_file()).most_common(5)
        listed = ", ".join(f"{count} {suffix or 'without suffix'}" for suffix, count in others) or "no file at all"
        found = f"no slide file in {settings.slides} ({listed})"
        raise ConfigError("there are no slides", found=found, fix="check --slides")
    return files


def check_recipe(settings: Settings, labelled: "Cohort", *, width: int) -> None:
    """Make the model once, without memory, for features of this width; one of somebody else is tried out too.

    Raises:
        UnknownPartError, ConfigError: no such model or option, or it is not for the task.
    """
    from asmil.draws import shapes_only
    from asmil.models import create_model, of_others, trust, try_out

    trust(settings.model)  # these settings are a person's own, not those of a run folder
    recipe = recipe_of(settings)
    recipe.check(labelled.task)
    outputs = len(labelled.classes) if labelled.task is None else 2  # a task may learn how many it has
    try:
        with shapes_only():
            create_model(settings.model, in_dim=width, n_classes=outputs, **settings.model_options)
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        given = ", ".join(f"{name}={value!r}" for name, value in settings.model_options.items()) or "no options"
        fix = "--model-option NAME=VALUE gives what it is made with"
        what = f"the model {settings.model!r} cannot be made"
        raise ConfigError(what, found=f"{given}; {error}", fix=fix) from error
    if of_others(settings.model):
        try_out(settings.model, in_dim=width, n_classes=outputs, **settings.model_options)


def check_folds(settings: Settings, labelled: "Cohort", files: Sequence[str]) -> None:
    """Make the folds once of the labelled slides that have a file; slides that are lost later make it only harder.

    Raises:
        CohortError: no slide has both, or a patient, of whose slides a bag is made, has several labels. SplitError: as
            `splits_of`.
    """
    from asmil.bags import SlideNames, require_one_answer

    names = SlideNames(files)
    both = [slide for slide in labelled.slides if names.find_or_file(slide) or names.scenes(slide)]
    if not both:
        found = f"the table has {', '.join(labelled.slides[:3])}; the files are {', '.join(files[:3])}"
        raise CohortError("no slide of the table has a file", found=found, fix="check the slide column; `asmil check`")
    if settings.bag == "patient":
        require_one_answer(labelled.subset(both))
    splits_of(settings, labelled if settings.splits else labelled.subset(both))


def tell_tables(
    labelled: "Cohort",
    files: Sequence[str],
    tell: Callable[[str], None],
    *,
    store: "FeatureStore | None" = None,
    encoder: str | None = None,
) -> None:
    """Say how the tables were understood, of the slides that have a file, where any has, and what was left out.

    `encoder` is the name of the one that is going to be used; that of features they say themselves.
    """
    from asmil.bags import SlideNames, seen_in_training

    names = SlideNames(files)
    both = any(names.find_or_file(slide) or names.scenes(slide) for slide in labelled.slides)
    matched = labelled.match(files, unreadable=store.problems if store else ()) if both else labelled
    for line in matched.lines():
        tell(line)
    seen = seen_in_training(encoder, matched.slides) if store is None else ""
    for line in store.lines(matched.slides) if store is not None and both else filter(None, [seen]):
        tell(line)


def check_extraction(settings: Settings, files: Sequence[Path]) -> None:
    """Look up every part that extraction names.

    Raises:
        AsmilError: there is no such encoder, reader, tissue method or flag here, or a file that is named is not there.
    """
    from asmil.encoders import card, readiness
    from asmil.extraction import read_slide_table
    from asmil.slides import SLIDE_READERS, name_of
    from asmil.tiles import QUALITY_FLAGS, TISSUE_METHODS

    if settings.reader is not None:
        SLIDE_READERS[settings.reader]
    TISSUE_METHODS[settings.tissue_method]
    for flag in settings.exclude_tiles:
        QUALITY_FLAGS[flag]
    if settings.slide_settings:
        read_slide_table(settings.slide_settings, slides=[name_of(file) for file in files])
    for name, path in (("weights", settings.weights), ("stain-target", settings.stain_target)):
        if path is not None and not path.exists():
            raise ConfigError(f"--{name}: there is nothing at this path", found=path)
    for name in [settings.encoder, *settings.also_encoder]:
        facts = card(name)
        found = readiness(facts, weights=settings.weights)
        if found.state == "missing" and settings.engine == "local":
            raise EncoderError(f"the encoder {name!r} cannot run here", found=found.detail, fix="see `asmil doctor`")


def _encoder_width(settings: Settings) -> int:
    from asmil.encoders import card

    return card(settings.encoder).dim


def slide_mpp_of(cohort: "Cohort") -> dict[str, float]:
    """The um per pixel that the table's mpp column states, for the slides that have one."""
    if "mpp" not in cohort.table:
        return {}
    stated = cohort.table.dropna(subset="mpp")
    return dict(zip(stated["slide"], stated["mpp"].astype(float), strict=True))


def note_tables(
    outcome: "Outcome", *, labelled: "Cohort", matched: "Cohort", store: "FeatureStore | None" = None
) -> None:
    """Put what is wrong with tables and feature files into the outcome.

    A slide that has a label and a file, and is not among the matched all the same, has failed. A row without a file, a
    file without a row, and remarks on a whole table are noted: they are what the tables say.
    """
    from asmil.bags import SlideNames

    told = {row.name for row in outcome.set_aside}  # of extraction, which says whether it was skipped
    problems = [one for one in (*matched.problems, *(store.problems if store else ())) if one.slide not in told]
    rows, used = SlideNames(labelled.slides), set(matched.slides)
    files = SlideNames([*store.slides, *(problem.slide for problem in store.problems)] if store else [])
    for problem in problems:
        name = problem.slide or str(problem.path or "cohort")
        both = rows.find_or_file(problem.slide) and files.find_or_file(problem.slide)
        note = outcome.failed if both and problem.slide not in used else outcome.noted
        note(name, stage="data", reason=problem.what)
