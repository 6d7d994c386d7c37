"""Ceiling of tile AP: what a classifier that is taught each tile's own label reaches with the features of a cohort."""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from asmil.annotations import find_annotation, read_annotations
from asmil.bags import load_dataset
from asmil.evaluation import tile_scores, tile_truth

TAUGHT: dict[str, Callable[[], ClassifierMixin]] = {
    "logistic regression": lambda: make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000)),
    "boosted trees": lambda: HistGradientBoostingClassifier(max_iter=150, random_state=0),
}


def main() -> None:
    """Print the mean tile AP of slides that were not taught from, over those with tiles of both kinds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="data set with annotations: colon, idc")
    parser.add_argument("features", type=Path)
    parser.add_argument("--folds", type=int, default=5, help="by patient")
    given = parser.parse_args()
    dataset, tiles, truth, patient = load_dataset(given.name, features=given.features), [], [], []
    for bag in dataset.bags:
        if file := find_annotation(dataset.annotations, bag.slide):
            drawn = read_annotations(file)
            truth.append(tile_truth(bag.level0_xy.numpy(), float(bag.tile_level0_px), drawn, positive=dataset.positive))
            tiles.append(bag.features.float().numpy())
            patient.append(bag.case)
    part = {name: i % given.folds for i, name in enumerate(sorted(set(patient)))}
    fold = np.array([part[name] for name in patient])
    print(f"{given.name}: {len(tiles)} annotated slides of {len(part)} patients, {sum(map(len, tiles)):,} tiles")
    for name, make in TAUGHT.items():
        scores = []
        for test in range(given.folds):
            rest, own = np.flatnonzero(fold != test), np.flatnonzero(fold == test)
            model = make().fit(np.concatenate([tiles[i] for i in rest]), np.concatenate([truth[i] for i in rest]))
            scores += [
                tile_scores(model.predict_proba(tiles[i])[:, 1], truth[i])["average_precision"]
                for i in own
                if 0 < truth[i].sum() < len(truth[i])
            ]
        chance = np.mean([t.mean() for t in truth if 0 < t.sum() < len(t)])
        print(f"{name}: tile AP {np.mean(scores):.3f} over {len(scores)} slides (chance {chance:.3f})", flush=True)


if __name__ == "__main__":
    main()
