"""From the table of a study to tables of means, differences, ranks and correlations, each with its interval."""

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from asmil.errors import RunError
from asmil.evaluation import (
    Ranking,
    corrected_mean,
    effect_sizes,
    holm,
    rank_correlation,
    rank_methods,
    signed_rank_p,
)
from asmil.shown import percent
from asmil.study.arms import ARMS, RESULTS, table_file

# The results of a study, read back: its cells, which of them were tested on the same slides, and their histories.

ARM, CELL = ["dataset", "model", "stabilizer"], ["dataset", "model", "fold", "seed"]


def read_results(folder: str | Path) -> pd.DataFrame:
    """The results.csv of a study, with a column `split`: equal where cells of a dataset test the same slides.

    Raises:
        RunError: there is no results.csv.
    """
    path = Path(folder) / RESULTS
    if not path.is_file():
        raise RunError(f"{folder} has no results of a study", found=f"no {RESULTS}", fix="run `asmil study` first")
    cells = pd.read_csv(path, dtype=dict.fromkeys(ARM, str), keep_default_na=False, na_values=["", "nan", "NaN"])
    return with_splits(cells, Path(folder))


def with_splits(cells: pd.DataFrame, folder: Path | None = None) -> pd.DataFrame:
    """The cells with their `split`; without predictions under `folder`, every fold and seed is one of its own.

    Raises:
        RunError: no rows, a column is missing that names the cell, or a cell occurs twice.
    """
    missing = [column for column in (*ARM, "fold", "seed") if column not in cells]
    if missing or cells.empty:
        found = f"no column {', '.join(missing)}" if missing else "no rows"
        raise RunError("the table of results cannot be analysed", found=found, fix=f"use the {RESULTS} of a study")
    if twice := int(cells.duplicated([*ARM, "fold", "seed"]).sum()):
        raise RunError("cells occur more than once in the table of results", found=f"{twice} repeated rows")
    if "split" in cells:
        return cells
    known: dict[tuple, str] = {}
    if folder is not None:
        for arm, own in cells.groupby(ARM, sort=False):
            if not {(arm[0], f, s) for f, s in zip(own["fold"], own["seed"], strict=True)} <= known.keys():
                known |= _tested(table_file(_arm_folder(folder, arm), "predictions"), arm[0])
    places = zip(cells["dataset"], cells["fold"], cells["seed"], strict=True)
    return cells.assign(split=[known.get(place, f"fold {place[1]} of seed {place[2]}") for place in places])


def read_history(folder: Path, arm: tuple[str, str, str]) -> pd.DataFrame:
    """The history.csv of an arm (fold, seed, epoch, val_loss ...); empty where there is none."""
    path = table_file(_arm_folder(folder, arm), "history")
    return pd.read_csv(path) if path.is_file() else pd.DataFrame()


def _arm_folder(folder: Path, arm: Iterable[object]) -> Path:
    return folder / ARMS / "--".join(map(str, arm))


def _tested(path: Path, dataset: object) -> dict[tuple, str]:
    """A name for the set of test slides of every (dataset, fold, seed); equal sets have equal names."""
    if not path.is_file():
        return {}
    table = pd.read_csv(path, usecols=["fold", "seed", "slide"], dtype={"slide": str})
    groups = table.groupby(["fold", "seed"])["slide"]
    return {(dataset, *key): str(hash(frozenset(slides))) for key, slides in groups}


METRIC_NAMES = {
    "test_auroc": "AUROC",
    "test_accuracy": "accuracy",
    "test_balanced_accuracy": "balanced accuracy",
    "test_macro_f1": "macro F1",
    "test_log_loss": "log loss",
    "test_brier": "Brier score",
    "tile_ap": "tile AP",
    "tile_auroc": "tile AUROC",
    "log10_jsd": "log10 JSD",
    "optimistic_auroc": "optimistic AUROC",
    "optimistic_accuracy": "optimistic accuracy",
}
"""Metrics of a cell that arms are compared by."""
METRICS = list(METRIC_NAMES)
PROTOCOLS = {
    "optimistic_auroc": "test_auroc",
    "optimistic_accuracy": "test_accuracy",
    "last_accuracy": "test_accuracy",
}
"""What another way of choosing the epoch gives, and the honest number it is compared with."""
LEVELS: dict[str, list[str] | None] = {
    "all cells": None,
    "within dataset and model": ["dataset", "model"],
    "within arm": ARM,
    "within cell": CELL,
}
"""What is held fixed in a correlation: within an arm only split and seed differ, within a cell only the stabiliser."""
FEW_GROUPS = 8


@dataclass(frozen=True)
class Analysis:
    """The cells of a study and what follows from them.

    `tables`: arms, differences, overall, ranks, protocols, choices, correlations; a table is empty where nothing
    can be said. `rankings`: models by AUROC, for each stabiliser. `baseline`: what stabilisers are compared with.
    """

    cells: pd.DataFrame
    baseline: str
    tables: dict[str, pd.DataFrame]
    rankings: dict[str, Ranking]


def analyse(results: pd.DataFrame, *, bootstrap: int = 1000) -> Analysis:
    """All tables of a study from its results (a row per cell); `bootstrap` draws for intervals of correlations.

    Cells that test the same slides (`split`: seeds on fixed folds) are averaged before an interval is made: more
    seeds are no more slides. Where a dataset has one split only, seeds are the unit, and the interval speaks of
    training anew on the same slides.

    Raises:
        RunError: no rows, or a column is missing that names the cell.
    """
    cells = _numeric(results)
    baseline = _baseline(cells)
    differences = _differences(cells, baseline)
    rankings = {str(name): _ranking(arms) for name, arms in cells.groupby("stabilizer", sort=False)}
    tables = {
        "arms": _arms(cells),
        "differences": differences,
        "overall": _overall(differences),
        "ranks": _rank_table(rankings),
        "protocols": _protocols(cells),
        "choices": _choices(cells, baseline),
        "correlations": _correlations(cells, bootstrap),
    }
    return Analysis(cells, baseline, tables, rankings)


def _numeric(results: pd.DataFrame) -> pd.DataFrame:
    """The cells with every column that is analysed, as numbers; nan where the study lacks it."""
    cells = with_splits(results).reset_index(drop=True)
    for name in (*METRIC_NAMES, *PROTOCOLS, "jsd", "val_loss", "n_train", "n_test"):
        cells[name] = pd.to_numeric(cells[name], errors="coerce") if name in cells else np.nan
    cells["log10_jsd"] = np.log10(cells["jsd"].where(cells["jsd"] > 0))
    return cells


def _baseline(cells: pd.DataFrame) -> str:
    """The stabiliser that is none: the one without options, or the one called none."""
    options = [column for column in cells if str(column).startswith("stabilizer.")]
    bare = set(cells.loc[cells[options].isna().all(axis=1), "stabilizer"]) if options else set()
    return bare.pop() if len(bare) == 1 else "none"


def _estimates(values: pd.DataFrame, cells: pd.DataFrame, *, sizes: bool = False) -> Iterator[tuple[str, dict]]:
    """Mean and interval (and effect sizes) over splits of every column that has values; `n`, `dropped` count cells."""
    units, ratio = values, 0.0  # one split: seeds are all there is
    if cells["split"].nunique() > 1:
        ratio = float((cells["n_test"] / cells["n_train"]).mean())
        ratio = ratio if np.isfinite(ratio) else 0.25  # that of five folds
        units = values.groupby(cells["split"].to_numpy(), sort=False).mean()
    for metric, n in np.isfinite(values).sum().items():
        if n:
            sample = units[metric].to_numpy()
            found = asdict(corrected_mean(sample, test_to_train=ratio))
            found |= {"n": int(n), "dropped": len(values) - int(n), "splits": found["n"]}
            yield str(metric), found | (asdict(effect_sizes(sample, test_to_train=ratio)) if sizes else {})


def _arms(cells: pd.DataFrame) -> pd.DataFrame:
    """Mean and interval of every metric of every arm."""
    rows = []
    for key, own in cells.groupby(ARM, sort=False):
        for metric, estimate in _estimates(own[list(METRIC_NAMES | PROTOCOLS)], own):
            rows.append(_row(key, ARM) | {"metric": metric} | estimate)
    return pd.DataFrame(rows).drop(columns="p", errors="ignore")


def _differences(cells: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Every stabiliser minus none, of the same dataset, model, fold and seed; Holm over all rows of a metric."""
    rows = []
    for key, own, other in _against(cells, baseline):
        for metric, estimate in _estimates(own[METRICS] - other[METRICS], own, sizes=True):
            rows.append(_row(key, ARM) | {"metric": metric} | estimate)
    table = pd.DataFrame(rows)
    if len(table):
        table.insert(
            list(table).index("p") + 1, "holm_p", table.groupby("metric")["p"].transform(lambda p: holm(p.to_numpy()))
        )
    return table


def _overall(differences: pd.DataFrame) -> pd.DataFrame:
    """A stabiliser over all datasets: datasets are the unit, so one that many models ran on counts once."""
    if differences.empty:
        return differences
    rows = []
    every = differences.assign(model="all models")
    models = [differences] if differences["model"].nunique() > 1 else []
    for (name, model, metric), own in pd.concat([every, *models]).groupby(
        ["stabilizer", "model", "metric"], sort=False
    ):
        by_dataset = own.groupby("dataset")["mean"].mean().to_numpy()
        beyond = {
            f"{word}_{sign}": int((own[p].lt(0.05) & own["mean"].mul(side).gt(0)).sum())
            for word, p in (("interval", "p"), ("holm", "holm_p"))
            for sign, side in (("higher", 1), ("lower", -1))
        }
        rows.append(
            {"stabilizer": name, "model": model, "metric": metric, "datasets": int(np.isfinite(by_dataset).sum())}
            | {"mean": float(np.nanmean(by_dataset)) if np.isfinite(by_dataset).any() else np.nan}
            | {"wilcoxon_p": signed_rank_p(by_dataset), "comparisons": int(own["p"].notna().sum())}
            | beyond
        )
    return pd.DataFrame(rows)


def _ranking(cells: pd.DataFrame) -> Ranking:
    """Models ranked by mean AUROC over datasets; models that were not measured on every dataset are left out."""
    table = cells.pivot_table(index="dataset", columns="model", values="test_auroc", aggfunc="mean", dropna=False)
    table = table.loc[:, table.notna().all()]
    return rank_methods(table.to_numpy(), list(table.columns))


def _rank_table(rankings: dict[str, Ranking]) -> pd.DataFrame:
    rows = []
    for stabilizer, ranking in rankings.items():
        for name, rank in zip(ranking.names, ranking.mean_ranks, strict=True):
            row = {"stabilizer": stabilizer, "model": name, "mean_rank": rank, "datasets": ranking.n_datasets}
            row |= {"critical_difference": ranking.critical_difference, "friedman_p": ranking.friedman_p}
            rows.append(row | {"reason": ranking.reason})
    return pd.DataFrame(rows)


def _protocols(cells: pd.DataFrame) -> pd.DataFrame:
    """What choosing the epoch on the test part (or not choosing) adds to the number reported, by arm and overall."""
    rows = []
    groups = [(("all", "all models", name), own) for name, own in cells.groupby("stabilizer", sort=False)]
    for key, own in (*groups, *cells.groupby(ARM, sort=False)):
        values = pd.DataFrame({protocol: own[protocol] - own[honest] for protocol, honest in PROTOCOLS.items()})
        for protocol, estimate in _estimates(values, own):
            honest = PROTOCOLS[protocol]
            means = {"protocol_mean": own[protocol].mean(), "honest_mean": own[honest].mean()}
            if key[0] == "all":  # cells of many arms share slides: their spread says nothing of a mean of all
                estimate |= dict.fromkeys(("low", "high", "p"), np.nan)
            rows.append(_row(key, ARM) | {"protocol": protocol, "honest": honest} | means | estimate)
    return pd.DataFrame(rows)


def _choices(cells: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """In every cell the stabiliser of lowest validation loss, and what its test part gains over none."""
    known = cells[cells["val_loss"].notna()]
    several = known.groupby(CELL)["stabilizer"].transform("nunique") > 1
    chosen = known.loc[known[several].groupby(CELL, sort=False)["val_loss"].idxmin()]
    other = cells[cells["stabilizer"] == baseline].set_index(CELL)
    rows = []
    for key, own in chosen.groupby(["dataset", "model"], sort=False):
        none = other.reindex(pd.MultiIndex.from_frame(own[CELL]))
        shares = own["stabilizer"].value_counts(normalize=True)
        text = ", ".join(
            f"{name} {percent(shares[name], '%')}" for name in cells["stabilizer"].unique() if name in shares
        )
        for metric, estimate in _estimates(own[METRICS] - none[METRICS].to_numpy(), own):
            means = {"chosen_mean": own[metric].mean(), "none_mean": none[metric].mean()}
            row = _row(key, ["dataset", "model"]) | {"metric": metric, "chosen": text} | means
            rows.append(row | estimate)
    return pd.DataFrame(rows)


def _correlations(cells: pd.DataFrame, bootstrap: int) -> pd.DataFrame:
    """Rank correlation of log JSD with performance, over all cells and with ever more held fixed."""
    rows = []
    for metric in ("test_auroc", "test_accuracy", "tile_ap", "tile_auroc"):
        known = cells[cells["log10_jsd"].notna() & cells[metric].notna()]
        groups = known.groupby(["dataset", "model"]).ngroup()
        many = groups.nunique() >= FEW_GROUPS
        clusters = groups if many else known.groupby(["dataset", "model", "split"]).ngroup()
        for level, held in LEVELS.items() if len(known) > 2 else ():
            within = None if held is None else known.groupby(held).ngroup().to_numpy()
            x, y = known["log10_jsd"].to_numpy(), known[metric].to_numpy()
            result = asdict(rank_correlation(x, y, clusters=clusters.to_numpy(), within=within, n=bootstrap))
            result["dropped"] = len(cells) - len(known)
            if result["groups"]:
                row = {"metric": metric, "level": level, **result}
                rows.append(row | {"drawn_together": "dataset and model" if many else "split of a model"})
    return pd.DataFrame(rows)


def _against(cells: pd.DataFrame, baseline: str) -> Iterator[tuple[tuple[Hashable, ...], pd.DataFrame, pd.DataFrame]]:
    """Each arm with a stabiliser and the cells of the same model without, on one index of fold and seed."""
    by_arm = {key: own.set_index(["fold", "seed"]) for key, own in cells.groupby(ARM, sort=False)}
    for (dataset, model, stabilizer), own in by_arm.items():
        none = by_arm.get((dataset, model, baseline))
        if stabilizer != baseline and none is not None:
            index = own.index.union(none.index)
            own, none = own.reindex(index), none.reindex(index)
            yield (dataset, model, stabilizer), own.assign(split=own["split"].fillna(none["split"])), none


def _row(key: Iterable[object], columns: list[str]) -> dict[str, object]:
    return dict(zip(columns, key, strict=True))
