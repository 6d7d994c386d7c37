"""An epoch over a generated cohort: in memory, with its loading, and read from the files as it trains."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from asmil.bags import Bag, Cohort, load_bags, open_features
from asmil.bench.parts.loading import write_slide
from asmil.bench.rows import HIGHER, Row, Scale
from asmil.bench.timing import seconds_of
from asmil.training import FitResult, Recipe, TrainSettings, fit

PART = "cohort"
EPOCH = TrainSettings(epochs=1, warmup_epochs=0, select="last")
ROUNDS = 2


def measure(scale: Scale) -> Iterator[Row]:
    """ASMIL with its anchor, half the tiles of each bag drawn anew as by default; files are in the page cache."""
    case = f"{scale.slides} slides x {scale.slide_tiles} x {scale.slide_dim}, fp16"
    with tempfile.TemporaryDirectory(prefix="asmil-bench-") as folder:
        cohort = _write_cohort(Path(folder), scale)

        def load(budget: int | None = None) -> list[Bag]:
            return load_bags(open_features(folder), cohort, device=scale.device, budget=budget)

        loaded, streamed, waited = load(), load(budget=0), []
        ways = (
            lambda: _train_epoch(loaded, scale.device),
            lambda: _train_epoch(load(), scale.device),
            lambda: waited.append(_train_epoch(streamed, scale.device).waiting),
        )
        # by the wall: what is read while another bag trains costs no time
        rounds = [[seconds_of(way, device=scale.device, wall=True) for way in ways] for _ in range(ROUNDS)]
    epoch, first, from_files = map(min, zip(*rounds, strict=True))
    yield Row(PART, case, "epoch", epoch, "s")
    yield Row(PART, case, "epoch with loading", first, "s")
    yield Row(PART, case, "epoch from files", from_files, "s")
    yield Row(PART, case, "waiting for files", min(waited), "s")
    yield Row(PART, case, "slides", scale.slides / epoch, "bags/s", HIGHER)
    yield Row(PART, case, "with / without loading", first / epoch, "x", tolerance=0.4)
    yield Row(PART, case, "from files / in memory", from_files / epoch, "x", tolerance=0.4)


def _write_cohort(folder: Path, scale: Scale) -> Cohort:
    draw = np.random.default_rng(0)
    slides = [f"slide_{index:03d}" for index in range(scale.slides)]
    for slide in slides:
        features = draw.standard_normal((scale.slide_tiles, scale.slide_dim), dtype=np.float32).astype(np.float16)
        write_slide(folder / f"{slide}.h5", features)
    labels = ["ab"[index % 2] for index in range(len(slides))]
    return Cohort(pd.DataFrame({"slide": slides, "case": slides, "label": labels}), ("a", "b"))


def _train_epoch(bags: Sequence[Bag], device: str) -> FitResult:
    recipe = Recipe("asmil", settings=EPOCH, standardize=False, device=device)
    model = recipe.build(in_dim=bags[0].features.shape[1], n_classes=2, train=bags, seed=0)
    return fit(model, bags, [], settings=EPOCH, stabilizer=recipe.stabilize(model, bags[0]))
