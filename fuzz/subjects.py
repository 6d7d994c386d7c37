"""What is fuzzed: for every format a valid file, ways to damage it, and all that asmil reads of it."""

import json
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd

from asmil.errors import AsmilError
from fuzz import containers, mutations
from fuzz.base import DIM, SLIDES, Draw, Lost, Subject, one_of
from fuzz.features import FEATURES, write_h5
from fuzz.places import PLACES

# Tables and splits.

NAMES = [f"s{i:02d}" for i in range(SLIDES)]


def _labels() -> pd.DataFrame:
    cases = [f"P{i // 2}" for i in range(SLIDES)]
    label = ["tumour" if i // 2 % 2 else "normal" for i in range(SLIDES)]
    return pd.DataFrame({"slide_id": NAMES, "case_id": cases, "label": label, "mpp": 0.5})


def _write_labels(folder: Path, suffix: str) -> None:
    path = folder / f"labels{suffix}"
    _labels().to_csv(path, index=False) if suffix == ".csv" else _labels().to_excel(path, index=False)


def _read_labels(folder: Path) -> str:
    from asmil.bags import read_cohort

    path = next(folder.glob("labels.*"))
    whole = _whole_rows(path)
    cohort = read_cohort(path)
    named = set(cohort.slides) | {problem.slide for problem in cohort.problems}
    if lost := whole - named:
        raise Lost(f"rows of {', '.join(sorted(lost))}")
    return "refused" if any(problem.slide for problem in cohort.problems) else "read"


def _whole_rows(path: Path) -> set[str]:
    """The slides whose rows are still as they were, where that can be told from the bytes."""
    if path.suffix != ".csv":
        return set()
    rows = {
        f"{slide},{case},{label},0.5".encode(): slide for slide, case, label, _ in _labels().itertuples(index=False)
    }
    lines = path.read_bytes().splitlines()
    head = b"slide_id,case_id,label,mpp" in lines[:1]
    return {rows[line] for line in lines[1:] if line in rows} if head else set()


def _write_splits(folder: Path, kind: str) -> None:
    from asmil.bags import make_splits, read_cohort

    splits = make_splits(read_cohort(_labels()), folds=2, val_fraction=0.4).table
    if kind == "table":
        splits[["slide", "fold", "part"]].to_csv(folder / "splits.csv", index=False)
        return
    for fold, rows in splits.groupby("fold"):
        parts = {part: rows["slide"][rows["part"] == part].tolist() for part in ("train", "val", "test")}
        if kind == "json":
            (folder / f"split_{fold}.json").write_text(json.dumps({f"{part}_names": s for part, s in parts.items()}))
        else:
            columns = {part: pd.Series(names) for part, names in parts.items()}
            pd.DataFrame(columns).to_csv(folder / f"splits_{fold}.csv")


def _read_splits(folder: Path) -> str:
    from asmil.bags import read_cohort, read_splits

    files = sorted(folder.iterdir())
    cohort = read_cohort(_labels())
    splits = read_splits(folder if len(files) > 1 else files[0], cohort)
    splits.check(cohort)
    if len(files) > 1 and splits.table["fold"].nunique() != len(files):
        raise Lost(f"{splits.table['fold'].nunique()} folds of {len(files)} files")
    return "read"


# Run folders.


def _write_run(folder: Path) -> None:
    import asmil

    for seed, name in enumerate(NAMES):
        write_h5(
            folder / "features" / f"{name}.h5", seed, format="asmil", mpp=1.0, slide_mpp=0.5, patch_size_level0=512.0
        )
    _labels().to_csv(folder / "labels.csv", index=False)
    given: dict = {"features": folder / "features", "labels": folder / "labels.csv", "out": folder / "run"}
    more: dict = {
        "folds": 2,
        "val_fraction": 0.4,
        "seeds": 1,
        "epochs": 2,
        "bootstrap": 20,
        "heatmaps": 0,
        "workers": 1,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        asmil.run(**given, **more)


def _damage_run(folder: Path, draw: Draw) -> None:
    files = sorted(path for path in (folder / "run").rglob("*") if path.is_file())
    files = [path for path in files if path.suffix not in (".html", ".png", ".svg", ".pdf", ".md")]
    containers.any_damaged(draw.choice(files), draw)
    if draw.random() < 0.05:
        cell = draw.choice(sorted((folder / "run" / "folds").iterdir()))
        cell.rename(cell.with_name(draw.choice((f"{cell.name} (copy)", "x", "99", "-1", "1e3"))))


def _read_run(folder: Path) -> str:
    """Everything that a run tells, each by itself; what is damaged must be an AsmilError."""
    from asmil.runs import Run

    run = Run.open(folder / "run")
    repr(run), run.facts()
    looks: Iterable[Callable[[], object]] = (
        *(
            lambda name=name: getattr(run, name)
            for name in ("settings", "identity", "environment", "task", "task_said")
        ),
        *(
            lambda name=name: getattr(run, name)
            for name in ("cohort", "splits", "failures", "features", "seconds", "store")
        ),
        *(
            lambda name=name: getattr(run, name)
            for name in ("profile", "classes", "metrics", "predictions", "stabilized")
        ),
        lambda: run.require_whole(partial=True, deep=True),
        lambda: run.require_results(partial=True),
        lambda: run.cell_predictions,
        run.test_attention,
        lambda: run.probabilities(run.predictions),
        lambda: run.slide("s00").tiles,
        lambda: run.slide("s00").thumbnail,
        *(lambda cell=cell, name=name: getattr(cell, name)() for cell in _cells(run) for name in LOOKS),
        *(lambda cell=cell: (cell.best_epoch, cell.weights_digest, cell.attention("s00")) for cell in _cells(run)),
        *(lambda cell=cell: [cell.epochs(slide) for slide in cell.recorded()] for cell in _cells(run)),
        *(lambda cell=cell: cell.model(run.settings, 2, in_dim=DIM) for cell in _cells(run)),
        lambda: run.evidence("s00"),
    )
    return _all_tried(looks)


def _all_tried(looks: Iterable[Callable[[], object]]) -> str:
    refused = False
    for look in looks:
        try:
            look()
        except AsmilError:
            refused = True
    return "refused" if refused else "read"


def _read_results(folder: Path) -> str:
    """What a run is made into."""
    from asmil.runs import Run

    run = Run.open(folder / "run")
    return _all_tried((lambda: run.report(partial=True), lambda: run.evaluate(partial=True, bootstrap=5), run.export))


LOOKS = ("state", "predictions", "log", "attentions", "recorded", "embeddings", "score_samples")


def _cells(run) -> list:
    return [run.cell(fold, 0) for fold in range(2)]


JSON, CSV = mutations.json_damaged, mutations.csv_damaged

SUBJECTS = {
    "labels csv": Subject(lambda folder: _write_labels(folder, ".csv"), one_of(CSV), _read_labels),
    "labels xlsx": Subject(
        lambda folder: _write_labels(folder, ".xlsx"), one_of(containers.xlsx_damaged), _read_labels
    ),
    "splits table": Subject(lambda folder: _write_splits(folder, "table"), one_of(CSV), _read_splits),
    "splits csv": Subject(lambda folder: _write_splits(folder, "csv"), one_of(CSV), _read_splits),
    "splits json": Subject(lambda folder: _write_splits(folder, "json"), one_of(JSON), _read_splits),
    **FEATURES,
    **PLACES,
    "run folder": Subject(_write_run, _damage_run, _read_run),
    "run results": Subject(_write_run, _damage_run, _read_results, seconds=20.0, share=0.01),
}
