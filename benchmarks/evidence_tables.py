"""The tables of the evidence page, written from the cells that are committed under docs/evidence."""

import argparse
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

STUDIES = ("classic", "tiles", "digits", "digits_long", "ablation")
CLASSIC = ("musk1", "musk2", "fox", "tiger", "elephant")
BESIDE = ["val_loss", "test_auroc", "test_accuracy", "tile_ap", "jsd", "entropy", "gradient_ratio", "best_epoch"]
LEVELS = ("all cells", "within dataset and model", "within arm", "within cell")


def table(path: Path) -> pd.DataFrame:
    """A committed table; the stabiliser "none" is a name, not a missing value."""
    return pd.read_csv(path, keep_default_na=False, na_values=["", "nan"])


def number(value: float, *, digits: int = 3, sign: bool = False) -> str:
    """A number as the page prints it: no leading zero, a true minus, a dash where there is none."""
    if pd.isna(value):
        return "–"
    text = f"{value:{'+' if sign else ''}.{digits}f}".replace("-", "−")
    return text if sign else text.removeprefix("0")


def rows_of(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A markdown table."""
    header = list(header)
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows])


def arm(model: str, stabilizer: str) -> str:
    """How a row is named."""
    return model if stabilizer == "none" else f"{model} + {stabilizer}"


def classic(cells: pd.DataFrame) -> str:
    """Accuracy by both protocols, repeats in brackets where not all ten were run."""
    arms = cells.groupby(["model", "stabilizer", "dataset"])
    means = arms[["test_accuracy", "optimistic_accuracy"]].mean()
    repeats = arms.seed.nunique()

    def entry(*key: str) -> str:
        if key not in means.index:
            return "–"
        few = "" if repeats[key] == 10 else f" [{repeats[key]}]"
        honest, optimistic = means.loc[key]
        return f"{number(honest)} / {number(optimistic)}{few}"

    names = cells.groupby(["model", "stabilizer"]).size().index
    header = ["accuracy: honest / best epoch on the test part", *map(str.upper, CLASSIC)]
    return rows_of(header, [[arm(*name), *(entry(*name, dataset) for dataset in CLASSIC)] for name in names])


def tiles(cells: pd.DataFrame, differences: pd.DataFrame) -> str:
    """Bag and tile metrics of every host, with the difference to the host alone."""
    against = differences.set_index(["dataset", "model", "stabilizer", "metric"])

    def entry(value: float, *key: str) -> str:
        if key not in against.index:
            return number(value)
        mean, low, high = (number(against.loc[key, part], sign=True) for part in ("mean", "low", "high"))
        return f"{number(value)} ({mean}, {low} to {high})"

    rows = []
    for (dataset, model, stabilizer), own in cells.groupby(["dataset", "model", "stabilizer"]):
        mean, key = own.mean(numeric_only=True), (dataset, model, stabilizer)
        rows.append(
            [
                dataset,
                arm(model, stabilizer),
                entry(mean.test_auroc, *key, "test_auroc"),
                entry(mean.test_macro_f1, *key, "test_macro_f1"),
                entry(mean.tile_ap, *key, "tile_ap"),
                number(mean.tile_auroc),
                "–" if pd.isna(mean.jsd) else f"{mean.jsd:.1e}",
                number(mean.entropy),
            ]
        )
    header = ["", "model", "AUROC (against none, 95 %)", "macro F1 (against none)", "tile AP (against none)"]
    return rows_of([*header, "tile AUROC", "JSD", "entropy"], rows)


def parts(cells: pd.DataFrame) -> str:
    """What each part of the method does, arm by arm."""
    means = cells.groupby(["model", "stabilizer"])[BESIDE].mean()
    rows = []
    for name, mean in means.iterrows():
        jsd = "–" if pd.isna(mean.jsd) else f"{mean.jsd:.1e}"
        plain = [number(mean[column]) for column in ("val_loss", "test_auroc", "test_accuracy", "tile_ap")]
        last = [number(mean.entropy), number(mean.gradient_ratio, digits=2), number(mean.best_epoch, digits=0)]
        rows.append([arm(*name), *plain, jsd, *last])
    header = ["model", "val loss", "AUROC", "accuracy", "tile AP", "JSD", "entropy", "gradient ratio", "best epoch"]
    return rows_of(header, rows)


def correlations(table: pd.DataFrame) -> str:
    """Spearman's rho of log JSD with each metric, by what is held fixed."""
    rows = []
    for metric, name in (
        ("test_auroc", "AUROC"),
        ("test_accuracy", "accuracy"),
        ("tile_ap", "tile AP"),
        ("tile_auroc", "tile AUROC"),
    ):
        own = table[table.metric == metric].set_index("level")
        spans = [
            [number(own.loc[level, part], digits=2, sign=True) for part in ("rho", "low", "high")] for level in LEVELS
        ]
        rows.append([name, *(f"{rho} ({low} to {high})" for rho, low, high in spans), f"{own.n.iloc[0]:,}"])
    return rows_of(["", *LEVELS, "cells"], rows)


def sizes(studies: dict[str, pd.DataFrame]) -> str:
    """Cells, arms and the processor time of every study."""
    rows = []
    for name, cells in studies.items():
        arms = cells.groupby(["dataset", "model", "stabilizer"]).ngroups
        command = f"`asmil study docs/evidence/{name}.yaml`"
        rows.append([command, f"{len(cells):,}", str(arms), f"{cells.seconds.sum() / 60:.0f} min"])
    return rows_of(["command", "cells", "arms", "one core"], rows)


def main() -> None:
    """Write tables.md beside the studies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("docs/evidence"))
    folder = parser.parse_args().folder
    studies = {name: table(folder / name / "cells.csv") for name in STUDIES if (folder / name / "cells.csv").is_file()}
    differences = table(folder / "tiles" / "differences.csv")
    texts = {
        "The studies": sizes(studies),
        "(a) The classic sets, 10-fold, repeats in brackets where not ten": classic(studies["classic"]),
        "(b) Colon and IDC, 5 seeds x 5 folds": tiles(studies["tiles"], differences),
        **{f"(c) {name.replace('_', ' ')}": parts(studies[name]) for name in STUDIES[2:] if name in studies},
        "(d) Stability against performance": correlations(pd.read_csv(folder / "correlations.csv")),
    }
    head = "# The evidence in tables\n\nWritten by `python -m benchmarks.evidence_tables` from the committed cells; "
    head += "what it means is on [the page of the evidence](index.md).\n"
    (folder / "tables.md").write_text(head + "".join(f"\n## {title}\n\n{text}\n" for title, text in texts.items()))


if __name__ == "__main__":
    main()
