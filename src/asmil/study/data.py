"""The data of a study: a dataset with its folds and tile truth, checked for leaks before anything is trained."""

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from asmil.annotations import find_annotation, read_annotations, require_classes
from asmil.bags import (
    Bag,
    Dataset,
    Fingerprint,
    Splits,
    find_twins,
    fingerprint,
    listed,
    load_dataset,
    make_splits,
    odd_tiles,
    require_apart,
    require_one_size,
)
from asmil.errors import SplitError
from asmil.evaluation import MetricError, tile_truth
from asmil.study.config import Part, StudyConfig


@dataclass(frozen=True)
class StudyData:
    """A loaded dataset and how the study splits it."""

    dataset: Dataset
    config: StudyConfig
    _drawn: dict[int, Splits] = field(default_factory=dict, repr=False)

    @property
    def bags(self) -> list[Bag]:
        """The bags in the dataset's order."""
        return self.dataset.bags

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, by index."""
        return self.dataset.cohort.classes

    @property
    def in_dim(self) -> int:
        """The numbers of a tile."""
        return int(self.bags[0].features.shape[1])

    @cached_property
    def rows(self) -> dict[str, int]:
        """The index of each slide's bag."""
        return {bag.slide: index for index, bag in enumerate(self.bags)}

    def splits(self, seed: int) -> Splits:
        """The official splits, or patient-wise folds drawn for this seed (one draw for all without `resplit`)."""
        if self.dataset.splits is not None:
            return self.dataset.splits
        config, drawn = self.config, seed if self.config.resplit else 0
        if drawn not in self._drawn:
            self._drawn[drawn] = make_splits(
                self.dataset.cohort, folds=config.folds, val_fraction=config.val_fraction, seed=drawn
            )
        return self._drawn[drawn]

    def parts(self, fold: int, seed: int) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Indices of the training, validation and test bags of a cell."""
        names = self.splits(seed).fold(fold)
        train, val, test = (tuple(self.rows[slide] for slide in part) for part in names)
        return train, val, test

    @cached_property
    def hashes(self) -> dict[str, str]:
        """A hash of every slide's features."""
        return {bag.slide: feature_hash(bag) for bag in self.bags}

    @cached_property
    def truth(self) -> dict[str, np.ndarray]:
        """Tile truth by slide, int8 (tiles,): 1 positive, 0 negative, -1 unknown; slides without truth are not there.

        Raises:
            AnnotationError, MetricError: annotations that are unreadable or lack the positive classes.
        """
        dataset = self.dataset
        if dataset.tile_labels is not None:
            return {slide: np.asarray(labels, dtype=np.int8) for slide, labels in dataset.tile_labels.items()}
        return {} if dataset.annotations is None else _drawn_truth(dataset, self.config.min_coverage)

    def check(self) -> list[str]:
        """Refuse leaks: a patient, or slides of the same content, in two parts of a fold of any seed.

        Returns:
            What there is to know of features, tiles and folds, and stops nothing.

        Raises:
            FeatureError: features of very different sizes.
            SplitError: a leak, a slide of the splits without a bag, or splits that cannot be made.
        """
        arrays = {bag.slide: bag.features.float().cpu().numpy() for bag in self.bags}
        prints = {bag.slide: _print_of(bag, arrays[bag.slide]) for bag in self.bags}
        told = [*self.dataset.remarks, *require_one_size(prints), *odd_tiles(prints)]
        if alike := [slide for slide, own in arrays.items() if len(own) > 1 and (own == own[0]).all()]:
            told.append(f"all tiles of a slide are the same, as of an encoder that failed: {listed(alike)}")
        twins = find_twins(prints, arrays.__getitem__)
        for seed in self.config.seeds:
            splits = self.splits(seed)
            splits.check(self.dataset.cohort)
            if missing := sorted(set(splits.table["slide"]) - self.rows.keys()):
                raise SplitError(f"{self.dataset.name}: slides of the splits have no bag", found=listed(missing))
            told += splits.remarks(self.dataset.cohort)
            told += require_apart(splits, twins, called=f"{self.dataset.name}: ", allow=self.config.allow_duplicates)
        return list(dict.fromkeys(told))  # of several seeds mostly the same

    def facts(self) -> dict[str, object]:
        """What identifies the data: its size, and a digest of features, labels and patients."""
        digest = hashlib.sha256()
        for bag in self.bags:
            digest.update(repr((bag.slide, bag.case, bag.label, self.hashes[bag.slide])).encode())
        splits = self.dataset.splits
        digest.update(b"" if splits is None else splits.table.to_csv(index=False).encode())
        return {"bags": len(self.bags), "digest": digest.hexdigest()[:16]}


def load_data(part: Part, config: StudyConfig) -> StudyData:
    """Load a dataset for a study.

    Raises:
        AsmilError: what the dataset misses: files, features, an option.
    """
    options = dict(part.options)
    root = options.pop("root", None)
    return StudyData(load_dataset(part.name, root=root or None, **options), config)


def _print_of(bag: Bag, features: np.ndarray) -> Fingerprint:
    """Its fingerprint, with the tiles that are where another is."""
    found = fingerprint(features)
    if bag.level0_xy is None:
        return found
    places = len(np.unique(bag.level0_xy.numpy(), axis=0))
    return replace(found, doubled=len(bag) - places, placed=places > 1 or len(bag) == 1)


def feature_hash(bag: Bag) -> str:
    """A hash of a bag's features, with their shape and type."""
    values = bag.features.contiguous().cpu().numpy()
    return hashlib.sha256(repr((values.shape, str(values.dtype))).encode() + values.tobytes()).hexdigest()


def _drawn_truth(dataset: Dataset, min_coverage: float) -> dict[str, np.ndarray]:
    """Truth of the slides that have an annotation file."""
    folder = dataset.annotations
    files = {bag.slide: folder and find_annotation(folder, bag.slide) for bag in dataset.bags}
    drawn = {slide: read_annotations(path) for slide, path in files.items() if path is not None}
    if not drawn:
        raise MetricError(f"{dataset.name}: no slide has an annotation file", found=folder)
    require_classes(drawn.values(), dataset.positive)
    truth = {}
    for bag in dataset.bags:
        if bag.slide not in drawn:
            continue
        if bag.level0_xy is None or bag.tile_level0_px is None:
            raise MetricError(
                f"{dataset.name}: the features of {bag.slide} have no level-0 coordinates to compare annotations with"
            )
        xy, side = bag.level0_xy.numpy(), float(bag.tile_level0_px)
        positive = tile_truth(xy, side, drawn[bag.slide], positive=dataset.positive, min_coverage=min_coverage)
        truth[bag.slide] = positive.astype(np.int8)
    return truth
