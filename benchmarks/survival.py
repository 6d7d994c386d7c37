"""Survival on a real table of patients, with generated features that carry a planted risk: what can be found again."""

import argparse
import os
from pathlib import Path

import h5py
import numpy as np

from asmil.bags import Cohort, read_cohort
from asmil.evaluation.task_scores import survival_scores
from asmil.tasks import create_task

TABLE = Path(os.environ.get("ASMIL_DATA") or "../shared/data") / "tables/tcga/survpath/metadata/tcga_blca.csv"
DIM = 16
NOISE = 1.0
"""Of the planted risk, in standard deviations of the logarithm of the times."""


def planted_risk(cohort: Cohort, *, seed: int = 0) -> dict[str, float]:
    """A risk for each patient: minus the logarithm of the time, standardised, plus noise.

    Of a censored patient the time is unknown: that of an event after it is drawn, where there is one.
    """
    rng = np.random.default_rng(seed)
    patients = cohort.table.drop_duplicates("case")
    time, event = patients["target_time"].to_numpy(), patients["target_event"].to_numpy() == 1
    later = [time[event & (time > end)] for end in time]
    drawn = [
        end if died or not len(after) else rng.choice(after)
        for end, died, after in zip(time, event, later, strict=True)
    ]
    risk = -np.log(np.maximum(drawn, 0.1))
    risk = (risk - risk.mean()) / risk.std() + NOISE * rng.normal(size=len(risk))
    return dict(zip(patients["case"], risk.tolist(), strict=True))


def write_features(cohort: Cohort, folder: Path, *, risk: dict[str, float], seed: int = 0) -> None:
    """Features (20 to 60 tiles, DIM) of noise; the higher the risk, the more tiles have their first value raised."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for slide, case in zip(cohort.slides, cohort.cases, strict=True):
        tiles = int(rng.integers(20, 61))
        features = rng.normal(size=(tiles, DIM))
        features[rng.random(tiles) < 1 / (1 + np.exp(-risk[case])), 0] += 3
        corners = np.stack([np.arange(tiles) % 8, np.arange(tiles) // 8], axis=1) * 448
        with h5py.File(folder / f"{slide}.h5", "w") as file:
            file["features"], file["coords"] = features.astype(np.float16), corners
            for part in (file, file["features"], file["coords"]):
                part.attrs.update(patch_size=224, patch_size_level0=448, mpp=0.5, slide_mpp=0.25)
            file.attrs.update(format="asmil", encoder="generated")


def main() -> None:
    """Write the features of a table's slides, and print what the planted risk itself reaches."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--labels", type=Path, default=TABLE, help="table with survival, a row per slide")
    parser.add_argument("--features", type=Path, default=Path("runs/tcga_blca/features"), help="folder to write")
    given = parser.parse_args()
    cohort = read_cohort(given.labels, task=create_task("survival"))
    risk = planted_risk(cohort)
    write_features(cohort, given.features, risk=risk)
    patients = cohort.table.drop_duplicates("case")
    targets = patients[["target_time", "target_event"]].to_numpy()
    values = np.array([[risk[case]] for case in patients["case"]])
    scores = survival_scores(targets, values, weight=np.ones((1, len(patients))), times=np.empty(0))
    print(f"{len(cohort)} slides of {len(patients)} patients, {int(targets[:, 1].sum())} events")
    print(f"C-index of the planted risk itself: {scores['c_index'][0]:.3f}")


if __name__ == "__main__":
    main()
