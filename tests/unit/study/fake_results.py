"""A made-up table of results, and its folder: arms with known differences, for tests of analysis and page."""

from pathlib import Path

import numpy as np
import pandas as pd

EFFECT = {"none": 0.0, "anchor": 0.05, "weak": 0.0}


def results(
    *, datasets=4, models=("mean", "abmil", "transmil", "asmil"), stabilizers=("none", "anchor", "weak"), folds=5,
    seeds=4, tiles=True, seed=0,
) -> pd.DataFrame:  # fmt: skip
    """A row per cell. `mean` has no attention and no stabiliser; anchor lifts AUROC by 0.05 and lowers JSD tenfold."""
    rng = np.random.default_rng(seed)
    rows = []
    for d in range(datasets):
        for m, model in enumerate(models):
            hard = rng.normal(0, 0.03, (folds, seeds))
            for stabilizer in stabilizers if model != "mean" else stabilizers[:1]:
                for fold in range(folds):
                    for s in range(seeds):
                        auroc = (
                            0.75 + 0.03 * d + 0.02 * m + EFFECT.get(stabilizer, 0) + hard[fold, s] + rng.normal(0, 0.01)
                        )
                        auroc = min(auroc, 1.0)
                        jsd = 10 ** (-2 - 0.3 * d - (stabilizer == "anchor") + rng.normal(0, 0.1))
                        attends = model != "mean"
                        rows.append(
                            {"dataset": f"data{d}", "model": model, "stabilizer": stabilizer, "fold": fold, "seed": s,
                             "n_train": 128, "n_val": 32, "n_test": 40, "model.dim": 512, "train.epochs": 40,
                             "stabilizer.beta": {"anchor": 1.0, "weak": 0.01}.get(stabilizer, np.nan),
                             "best_epoch": 10, "epochs": 40, "seconds": 2.0, "together": True,
                             "val_loss": 0.7 - 0.4 * auroc + rng.normal(0, 0.01), "val_auroc": auroc,
                             "test_auroc": auroc, "test_accuracy": auroc - 0.1, "test_macro_f1": auroc - 0.12,
                             "test_balanced_accuracy": auroc - 0.11, "test_log_loss": 1 - auroc, "test_brier": 0.2,
                             "optimistic_auroc": auroc + 0.02, "optimistic_accuracy": auroc - 0.05,
                             "last_accuracy": auroc - 0.13,
                             "tile_ap": 0.3 + rng.normal(0, 0.02) if tiles and attends and d == 0 else np.nan,
                             "tile_auroc": 0.6 + rng.normal(0, 0.02) if tiles and attends and d == 0 else np.nan,
                             "jsd": jsd if attends else np.nan}
                        )  # fmt: skip
    return pd.DataFrame(rows)


def write(folder: Path, table: pd.DataFrame, *, epochs: int = 12, histories: tuple[str, ...] = ()) -> Path:
    """The folder of a study: results.csv, and the histories of these models."""
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / "results.csv", index=False)
    rng = np.random.default_rng(1)
    t = np.arange(1, epochs + 1)
    for (dataset, model, stabilizer), own in table[table["model"].isin(histories)].groupby(
        ["dataset", "model", "stabilizer"]
    ):
        frames = []
        for _, cell in own.iterrows():
            columns = {
                "fold": cell["fold"], "seed": cell["seed"], "epoch": t,
                "train_loss": 0.7 * np.exp(-t / 6) + rng.normal(0, 0.01, epochs),
                "val_loss": 0.4 + 0.3 * np.exp(-t / 4) + rng.normal(0, 0.02, epochs),
                "val_auroc": cell["test_auroc"] - 0.3 * np.exp(-t / 3),
                "jsd": cell["jsd"] * np.exp(-t / 10) * np.where(t == 1, np.nan, 1),
            }  # fmt: skip
            frames.append(pd.DataFrame(columns))
        arm = folder / "arms" / f"{dataset}--{model}--{stabilizer}"
        arm.mkdir(parents=True, exist_ok=True)
        pd.concat(frames).to_csv(arm / "history.csv", index=False)
    return folder
