"""Whether a run is whole: the seals of its models, what has become of their files, and what is still to be trained."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from asmil.bags import listed
from asmil.errors import RunError
from asmil.files import Facts, write_json
from asmil.runs.layout import COHORT, CONFIG, NEEDED, PREDICTIONS, SEAL, SPLITS, TASK, cell_folders
from asmil.runs.reading import read_json
from asmil.settings import ABOUT, changed_features, compare, settings_identity, tables_identity

if TYPE_CHECKING:
    from asmil.bags import FeatureStore
    from asmil.progress import Listener
    from asmil.runs.cell import Cell
    from asmil.runs.folder import Run
    from asmil.runs.records import Records

OPEN = {"open": True}
"""The seal of a cell whose files are being written."""
SHOWN = 4
"""Models named in a message."""


@dataclass(frozen=True)
class State:
    """What there is of a cell: `faults` names each file that is not as it was written, and how.

    `begun` is False where the training never came to its end. `digests` are the SHA-256 of the seal, by file; None for
    a cell that was written before there were seals: its files are there, and whether all of their content is cannot be
    said.
    """

    begun: bool
    faults: Mapping[str, str] = field(default_factory=dict)
    digests: Mapping[str, str] | None = None

    @property
    def whole(self) -> bool:
        """Whether it is finished, and nothing has happened to it since."""
        return self.begun and not self.faults

    def __str__(self) -> str:
        if not self.begun:
            return "missing"
        return ", ".join(f"{name} {fault}" for name, fault in self.faults.items()) or "whole"


def made_of(identity: Facts) -> Facts:
    """What decided the models of a run, for their seals: settings by value, slides, folds and bags as a digest.

    Of the bags it is tiles and width, and by itself, as older seals lack it, what they hold: a run keeps the digests
    that it began with.
    """
    settings, data = {name: value for name, value in identity.items() if name in ABOUT}, identity.get("data", {})
    bags = data.get("features", {})
    shapes = {slide: content[1:3] for slide, content in bags.items()}
    known: Facts = {"data": [data.get("cohort"), data.get("splits"), data.get("task"), shapes]} if data else {}
    known |= {"features": {slide: content[3:] for slide, content in bags.items()}} if bags else {}
    return {"settings": settings} | {name: _short_digest(value) for name, value in known.items()}


def _short_digest(value: object) -> str:
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


def seal(folder: Path, of: Facts) -> None:
    """Note size and SHA-256 of every file of a cell, after all of them are written, and which cell of what it is."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    said = {path.name: {"bytes": path.stat().st_size, "sha256": digest(path)} for path in files if path.name != SEAL}
    write_json(folder / SEAL, {"of": of, "files": said})


def unseal(folder: Path) -> None:
    """Let a cell be unfinished while its files are written: killed half-way, it must not count as whole.

    An open seal, not none: without one it would pass for a cell from before there were seals.
    """
    write_json(folder / SEAL, OPEN)


def state_of(folder: Path, *, deep: bool = False, sealed: bool = False, of: Facts | None = None) -> State:
    """Compare the files of a cell with its seal: their sizes, and with `deep` their content.

    A cell of a run that is known to be `sealed` does not count without its seal, nor does one whose seal says that it
    is `of` another place or run: tested slides would be some that it learned from.
    """
    if not (folder / SEAL).is_file():
        if not (folder / PREDICTIONS).is_file():  # before there were seals, these were written last
            return State(begun=False)
        if sealed:
            return State(True, {SEAL: "is missing"}, {})
        sizes = {name: _size(folder / name) for name in NEEDED}
        return State(
            True, {n: "is missing" if size is None else "was emptied" for n, size in sizes.items() if not size}
        )
    said = _said(folder / SEAL)
    if said == OPEN:
        return State(begun=False)
    kept = _sealed(said)
    if kept is None:
        return State(True, {SEAL: "was changed"}, {})
    found = {name: _fault(folder / name, *said, deep=deep) for name, said in kept.items()}
    found[SEAL] = _elsewhere(said["of"], of) if of and "of" in said else ""
    return State(True, {name: f for name, f in found.items() if f}, {name: sha for name, (_, sha) in kept.items()})


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _said(path: Path) -> Facts:
    """What a seal says; nothing where it is no JSON object."""
    try:
        return read_json(path, fix="")
    except RunError:
        return {}


def _sealed(said: Facts) -> dict[str, tuple[int, str]] | None:
    """Size and digest by file, as the seal says; None where it is not what `seal` writes."""
    try:
        kept = {str(name): (int(one["bytes"]), str(one["sha256"])) for name, one in said["files"].items()}
    except (LookupError, TypeError, ValueError, OverflowError, AttributeError):
        return None
    ours = all(Path(name).name == name for name in kept)  # a stranger's seal leads to no file elsewhere
    return kept if ours and set(NEEDED) <= set(kept) else None


def _elsewhere(said: object, of: Facts) -> str:
    """Of which other cell or run one is, by its seal; empty where it is the one it should be."""
    try:
        own = Facts(said)  # type: ignore[call-overload]
        if (own["fold"], own["seed"]) != (of["fold"], of["seed"]):
            return f"is of fold {own['fold']} seed {own['seed']}"
        if changes := compare(own["settings"], of["settings"]):
            return f"is of another run ({listed([change.text for change in changes], SHOWN)})"
        both = (name for name in ("data", "features") if own.get(name) and of.get(name))
        return "is of a run of other slides, folds or features" if any(own[n] != of[n] for n in both) else ""
    except (LookupError, TypeError, ValueError, AttributeError):
        return "was changed"


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _fault(path: Path, size: int, sha256: str, *, deep: bool) -> str:
    """What is wrong with a file that was of that size and digest; empty where nothing is."""
    found = _size(path)
    if found is None:
        return "is missing"
    if found < size:
        return f"was cut ({found:,} of {size:,} bytes)" if found else "was emptied"
    return "was changed" if found > size or (deep and digest(path) != sha256) else ""


@dataclass(frozen=True)
class Standing:
    """The state of every model that a run is to have, and `tests`: by fold, the slides that it tests."""

    states: "Mapping[Cell, State]"
    tests: Mapping[int, frozenset[str]]

    @cached_property
    def whole(self) -> "list[Cell]":
        """The finished models, by fold and seed."""
        return [cell for cell, state in self.states.items() if state.whole]

    @cached_property
    def unfinished(self) -> "dict[Cell, State]":
        """Those that the same command has to train."""
        return {cell: state for cell, state in self.states.items() if not state.whole}

    @cached_property
    def untested(self) -> list[str]:
        """Slides that no finished model was tested on."""
        tested = frozenset[str]().union(*(self.tests.get(cell.fold, ()) for cell in self.whole))
        return sorted(frozenset[str]().union(*self.tests.values()) - tested)

    @property
    def digest(self) -> str:
        """Of what the finished models predicted: metrics of other predictions are not of these models."""
        said = [(cell.name, (self.states[cell].digests or {}).get(PREDICTIONS)) for cell in self.whole]
        return hashlib.blake2b(repr(said).encode(), digest_size=16).hexdigest()

    def __str__(self) -> str:
        text = f"{len(self.whole)} of {len(self.states)} models are finished"
        if len(self.untested) == 1:
            return f"{text}; 1 slide was never tested"
        return f"{text}; {len(self.untested)} slides were never tested" if self.untested else text

    @property
    def partial(self) -> str:
        """What a page or a file says that was made of a part of the models; empty where all are finished."""
        if not self.unfinished:
            return ""
        return f"A partial look: {str(self).replace(' are finished', '')}."

    @property
    def reasons(self) -> str:
        """What is missing or broken, in one line."""
        damaged = [f"{cell.name}: {state}" for cell, state in self.unfinished.items() if state.begun]
        missing = [cell.name for cell, state in self.unfinished.items() if not state.begun]
        return "; ".join([*damaged[:SHOWN], *([f"missing {listed(missing, SHOWN)}"] if missing else [])])

    def tell(self, hear: "Listener") -> list[tuple[int, int]]:
        """Tell a listener what is trained again and why, and of the finished models as their trainings did.

        Returns:
            Fold and seed of the models that are still to be trained.
        """
        for sentence in self.says:
            hear.note(sentence)
        for cell in self.whole:
            hear.trained(cell.name, cell.rows(), result=cell.chosen)
        return [(cell.fold, cell.seed) for cell in self.unfinished]

    @property
    def says(self) -> list[str]:
        """Lines for whoever goes on with the run: what is trained again and why, and what cannot be checked."""
        again = [f"{cell.name} is trained again: {state}" for cell, state in self.unfinished.items() if state.begun]
        old = sum(state.digests is None for state in self.states.values() if state.whole)
        plural = "models have" if old != 1 else "model has"
        return again + [f"{old} finished {plural} no seal (an older version): all files are there"] * bool(old)


def standing_of(run: "Run", *, deep: bool) -> Standing:
    """How far a run is, as its files are now: sizes, and with `deep` the content of what is finished.

    Raises:
        RunError: among its models lies a folder that is none of them.
    """
    splits, seeds, identity = run.splits, run.settings.seed_list, run.identity
    folds = sorted(int(fold) for fold in set(splits["fold"]))
    tested = splits[splits["part"] == "test"]
    tests = {fold: frozenset(tested["slide"][tested["fold"] == fold]) for fold in folds}
    cells = [run.cell(fold, seed) for fold in folds for seed in sorted(seeds)]
    expected = {cell.folder for cell in cells}
    for folder, _ in cell_folders(run.folder):
        if folder not in expected and any(folder.iterdir()):
            raise RunError(
                f"{folder} is no model of this run",
                found=f"folds {min(folds)} to {max(folds)} and seeds {', '.join(map(str, seeds))} in "
                f"{SPLITS} and {CONFIG}",
                fix="move it out of the run's folder",
            )
    sealed = "code" in identity  # written since there are seals; a run that began before never gets it
    of = made_of(identity)
    return Standing({cell: cell.state(deep=deep, sealed=sealed, of=of) for cell in cells}, tests)


def even(cells: "list[Cell]") -> "list[Cell]":
    """The most of these models that make whole rows and columns: all chosen folds with the same seeds.

    A mean over the seeds of each fold is comparable only so.
    """
    seeds_of: dict[int, set[int]] = {}
    for cell in cells:
        seeds_of.setdefault(cell.fold, set()).add(cell.seed)
    sets = {frozenset(a & b) for a in seeds_of.values() for b in seeds_of.values()} - {frozenset()}

    def folds(seeds: frozenset[int]) -> list[int]:
        return [fold for fold, own in seeds_of.items() if seeds <= own]

    # of equally many, more folds: they test more slides
    best = max(sets, key=lambda seeds: (len(seeds) * len(folds(seeds)), len(folds(seeds)), sorted(seeds)), default=None)
    return [] if best is None else [c for c in cells if c.seed in best and c.fold in folds(best)]


def require_unedited(run: "Records") -> None:
    """Refuse a run whose settings, tables or task are not those that it was trained with: what is made of it would lie.

    Settings that decide no model (`bootstrap`, `heatmaps`, paths) may differ, and so may whatever the identity, being
    older, does not say.

    Raises:
        RunError: the first of these files that was changed; it says how.
    """
    identity, now = run.identity, settings_identity(run.settings)
    data, known = identity.get("data", {}), {name: value for name, value in identity.items() if name in now}
    lost = [f"{name} is missing" for name in known if name not in run.settings.model_fields_set]
    changes = compare(known, {name: now[name] for name in known})
    _refuse_edited(run.folder / CONFIG, lost + [change.text for change in changes])
    if "cohort" in data:
        tables = tables_identity(run.cohort, run.splits)
        for path, part in ((COHORT, "cohort"), (SPLITS, "splits")):
            changes = compare({"data": data}, {"data": data | {part: tables[part]}})
            _refuse_edited(run.folder / path, [change.text for change in changes])
        told = run.splits.set_index("slide")[["case", "label"]].itertuples()
        other = {slide for slide, *both in told if both != data["cohort"].get(slide, both)[:2]}
        _refuse_edited(run.folder / SPLITS, [f"another patient or label: {listed(sorted(other))}"] if other else [])
    if "task" in data and run.task_said != data["task"]:
        _refuse_edited(run.folder / TASK, [f"it was {data['task']}, and is {run.task_said}"])


def require_features(run: "Records", slides: Iterable[str], *, store: "FeatureStore | None" = None) -> None:
    """Refuse to read features of a run's own slides that are not those that it was trained on.

    An older run does not say them: then nothing can be compared, and `UNKNOWN_FEATURES` is what there is to say.

    Args:
        slides: whose features are about to be read: of each at most a megabyte is, for its digest.
        store: where they are; None: where the run found them.

    Raises:
        RunError: the slides are named.
    """
    if (store := run.store if store is None else store) is None:
        return
    if found := changed_features(run.identity, store, slides):
        fix = "put the old features back, or train anew into another --out"
        raise RunError(f"the run in {run.folder} was trained on other features", found=found, fix=fix)


def _refuse_edited(path: Path, found: Sequence[str]) -> None:
    if found:
        raise RunError(
            f"{path} is not as the run was trained",
            found=listed(found, SHOWN),
            fix="give the command that made the run again, which writes the file as it was. What is to be different in "
            "training needs another --out; settings of results are flags of `asmil evaluate` and `asmil report`",
        )
