"""A study from its settings to its tables: every unfinished cell trained, in one process or by an engine."""

import re
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from asmil.bags import Problem
from asmil.errors import AsmilError, ConfigError
from asmil.extraction import Claims, run_tasks, sole
from asmil.files import write_json, write_text
from asmil.progress import FAILURES, Advance, Listener, default_listener, model_name, require_trackers, tracked
from asmil.runs import ENVIRONMENT, MAKING, TRACKED
from asmil.study.arms import ARMS, RESULTS, Arm, Group, claim, groups_of, list_arms, misfit
from asmil.study.cells import Rows, add_rows, finished_cells, read_rows, rows_of, write_results
from asmil.study.config import Part, StudyConfig
from asmil.study.data import StudyData, load_data

if TYPE_CHECKING:
    from asmil.study.cells import CellRecord


POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Failure:
    """Cells of an arm that could not be trained, and the error."""

    arm: str
    seeds: str
    error: str
    reason: str
    trace: str


@dataclass(frozen=True)
class StudyResult:
    """The folder of a study, its table and the number of cells in it, the names of the arms, and what failed.

    `left_out` is what is wrong with the tables and files of each data set, by its label.
    """

    folder: Path
    table: Path
    cells: int
    arms: tuple[str, ...]
    failures: tuple[Failure, ...]
    left_out: dict[str, tuple[Problem, ...]]


def run_study(config: StudyConfig, *, only: str | None = None, listener: Listener | None = None) -> StudyResult:
    """Train every cell that is not finished and write the tables under `config.out`.

    A cell's row is written as soon as its group is trained, so that the same call continues a study that was
    stopped. An arm that fails, or whose process dies twice, is noted in failures.csv and the others go on. With
    `only`, the arms of that name (`list_arms`). Studies of different arms may run at the same time into the same
    folder.

    Raises:
        ConfigError: a dataset cannot be loaded or leaks, or an arm's parts do not fit its bags; all of them are named.
        RunError: the folder holds other settings, another process trains one of the arms there, or there is no such
            engine.
    """
    arms = list_arms(config, only=only)
    names, hear = [arm.name for arm in arms], listener or default_listener()
    require_trackers(config.log_to)
    with sole(config.out, within=MAKING, what="training", parts=names, hear=hear):
        return _run(config, arms, hear)


def _run(config: StudyConfig, arms: list[Arm], hear: Listener) -> StudyResult:
    """What `run_study` does when nobody else is at these arms."""
    from asmil.machine import environment

    finished = {arm.name: finished_cells(_folder(config, arm)) for arm in arms}
    with hear.stage("open", total=None):
        facts, groups, total, left_out = _prepare(config, arms, finished, hear)
    with _alone(config.out):
        claim(config, facts)
    write_json(config.out / ENVIRONMENT, environment())
    left = sum(len(group.cells) for group in groups)
    if left < total:
        hear.note(f"{total - left} of {total} cells are trained already")
    with hear.stage("study", total=left, unit="cells") as advance, _trackers(config, hear) as tell:
        for arm in (arm for arm in arms if config.log_to and finished[arm.name]):
            tell(arm.name, read_rows(_folder(config, arm)))
        failures = _train(config, arms, groups, hear=hear, advance=advance, tell=tell)
    names = tuple(arm.name for arm in arms)
    with _alone(config.out):
        _write_failures(config.out, failures, names)
        cells = write_results(config.out, names)
    return StudyResult(config.out, config.out / RESULTS, cells, names, tuple(failures), left_out)


@contextmanager
def _trackers(config: StudyConfig, hear: Listener) -> Iterator[Callable[[str, Rows], None]]:
    """What tells the trackers of cells: of an arm, by its name, the rows of its tables."""
    names, said = list(config.log_to), asdict(config.settings)
    with ExitStack() as stack:

        @cache
        def trackers(arm: str) -> Listener:
            folder, sent = config.out / TRACKED, f"sent-{arm}.json"  # other processes may be at other arms
            return stack.enter_context(tracked(hear, names, folder=folder, name=arm, settings=said, sent=sent))

        def tell(arm: str, rows: Rows) -> None:
            for cell in rows["cells"]:
                fold, seed = cell["fold"], cell["seed"]
                own = [row for row in rows["history"] if (row["fold"], row["seed"]) == (fold, seed)]
                result = {name: value for name, value in cell.items() if "." not in name}  # the others are settings
                trackers(arm).trained(f"{arm} {model_name(fold, seed)}", own, result=result)

        yield tell


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Wait until no other process writes the tables of all arms: it may be at other arms of the study."""
    with Claims(out, within=MAKING) as claims:
        while claims.take_over("tables") is None:
            time.sleep(POLL_SECONDS)
        yield


_FLAG = re.compile(
    r"--(label|classes|folds|by-site|splits|positive|spellings|slide-table|features-encoder|(?:slide|case|label)-column)\b"
)


def _as_key(flag: re.Match[str]) -> str:
    """What the option of a data set is called in the file of a study, where tables name the flag of `crossval`."""
    return "label_column" if flag[1] == "label" else flag[1].replace("-", "_")


def _folder(config: StudyConfig, arm: Arm) -> Path:
    return config.out / ARMS / arm.name


def _prepare(
    config: StudyConfig, arms: list[Arm], finished: dict[str, set[tuple[int, int]]], hear: Listener
) -> tuple[dict[str, dict], list[Group], int, dict[str, tuple[Problem, ...]]]:
    """Load and check every dataset once: its facts, the groups to train, the number of all cells, what is left out."""
    facts: dict[str, dict] = {}
    left_out: dict[str, tuple[Problem, ...]] = {}
    groups: list[Group] = []
    problems, unfit, total = list[str](), list[str](), 0
    for part in {arm.dataset.label: arm.dataset for arm in arms}.values():
        try:
            data = _data(part, config)
            for sentence in data.check():
                hear.warn(f"{part.label}: {sentence}")
        except AsmilError as error:
            problems.append(f"{part.label}: {_FLAG.sub(_as_key, str(error))}")
            continue
        facts[part.label], left_out[part.label] = data.facts(), tuple(data.dataset.cohort.problems)
        for arm in (arm for arm in arms if arm.dataset.label == part.label):
            total += sum(len(data.splits(seed).folds) for seed in config.seeds)
            groups += (left := groups_of(arm, data, finished=finished[arm.name]))
            if left and (why := misfit(arm.recipe(config), in_dim=data.in_dim, n_classes=len(data.classes))):
                unfit.append(f"{arm.name}: {why}")
    if unfit and not problems:
        raise ConfigError("\n".join(["the parts of some arms do not fit together:", *unfit]))
    if problems:
        raise ConfigError("\n".join(["the study cannot use its data:", *problems]))
    return facts, groups, total, left_out


def _train(
    config: StudyConfig,
    arms: list[Arm],
    groups: list[Group],
    *,
    hear: Listener,
    advance: Advance,
    tell: Callable[[str, Rows], None],
) -> list[Failure]:
    """Train the groups; only this process writes, as each group is done."""
    left = {arm.name: sum(group.arm.name == arm.name for group in groups) for arm in arms}
    names, failures = [arm.name for arm in arms], list[Failure]()
    with _alone(config.out):
        write_results(config.out, names)
    for group, rows in _trained(config, groups):
        name = group.arm.name
        if isinstance(rows, BaseException):
            _add_failure(failures, group, rows)
            with _alone(config.out):
                _write_failures(config.out, failures, names)
        else:
            add_rows(_folder(config, group.arm), rows)
            tell(name, rows)
        left[name] -= 1
        if not left[name]:
            hear.note(f"{name} is done, {sum(not count for count in left.values())} of {len(arms)} arms")
            with _alone(config.out):
                write_results(config.out, names)
        advance(len(group.cells))
    return failures


def _trained(config: StudyConfig, groups: list[Group]) -> Iterator[tuple[Group, Rows | BaseException]]:
    """Each group with its rows, or with the error that stopped it, in the order they are done."""
    if config.engine == "local" and (config.workers == 1 or len(groups) < 2):
        for group in groups:
            try:
                rows: Rows | BaseException = _train_group(config, group)
            except Exception as error:  # noqa: BLE001  whatever stops one arm, the others go on; it is reported
                rows = error
            yield group, rows
        return
    _loaded.clear()  # every worker loads its own
    tasks = [(config, group) for group in groups]
    gpus = int(config.device.startswith("cuda"))
    for index, rows in run_tasks(_train_task, tasks, engine=config.engine, workers=config.workers, gpus=gpus):
        yield groups[index], rows


def _train_task(task: tuple[StudyConfig, Group]) -> Iterator[Rows]:
    """One group in a process of its own, with one thread."""
    import torch

    torch.set_num_threads(1)
    yield _train_group(*task)


def _train_group(config: StudyConfig, group: Group) -> Rows:
    from asmil.study.cells import CellPlan, train_cells

    data, arm = _data(group.arm.dataset, config), group.arm
    parts = [data.parts(fold, seed) for fold, seed in group.cells]
    plans = [CellPlan(*own, seed) for own, (_, seed) in zip(parts, group.cells, strict=True)]
    records: list[CellRecord] = train_cells(arm.recipe(config), data.bags, plans, n_classes=len(data.classes))
    rows = [rows_of(record, data, arm=arm, cell=cell) for record, cell in zip(records, group.cells, strict=True)]
    return {name: [row for one in rows for row in one[name]] for name in rows[0]}


_loaded: dict[str, StudyData] = {}
"""The dataset this process works on: groups come by dataset, so one is kept."""


def _data(part: Part, config: StudyConfig) -> StudyData:
    key = repr((part, config))
    if key not in _loaded:
        data = load_data(part, config)
        _loaded.clear()
        _loaded[key] = data
    return _loaded[key]


def _add_failure(failures: list[Failure], group: Group, error: BaseException) -> None:
    """One entry for all the seeds and folds of an arm that end with the same words."""
    seeds = {seed for _, seed in group.cells}
    new = Failure(group.arm.name, "", type(error).__name__, " ".join(str(error).split()), "")
    for at, old in enumerate(failures):
        if (old.arm, old.error, old.reason) == (new.arm, new.error, new.reason):
            seeds |= set(map(int, old.seeds.split()))
            failures[at] = replace(old, seeds=" ".join(map(str, sorted(seeds))))
            return
    trace = "".join(traceback.format_exception(error))
    failures.append(replace(new, seeds=" ".join(map(str, sorted(seeds))), trace=trace))


def _write_failures(out: Path, failures: list[Failure], arms: Sequence[str]) -> None:
    """failures.csv: what failed now, and what is noted of arms that were not tried now."""
    path, columns = out / FAILURES, ["arm", "seeds", "error", "reason", "trace"]
    table = pd.DataFrame(failures, columns=columns)
    if path.exists():
        before = pd.read_csv(path, dtype=str, keep_default_na=False)
        table = pd.concat([before[~before["arm"].isin(arms)], table])
    write_text(path, table.to_csv(index=False))
