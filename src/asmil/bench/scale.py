"""How much is measured: the sizes of a run of the benchmark."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Sizes of all parts. `seconds` is what one function is timed for; it runs once at least.

    `step_tiles` x `step_dims` (input features, width of the model) are the cases of the training step; `models` the
    names to measure (None: all) on a bag of `model_tiles`; `slides` x `slide_tiles` x `slide_dim` the generated cohort;
    `folds` x `seeds` are trained at once on `cell_bags` bags; `curve_tiles` are the bags of the curve of cost.
    """

    seconds: float = 2.0
    step_tiles: tuple[int, ...] = (1_000, 10_000, 30_000, 100_000)
    step_dims: tuple[tuple[int, int], ...] = ((384, 128), (1024, 512), (1536, 512))
    models: tuple[str, ...] | None = None
    model_tiles: int = 10_000
    slides: int = 30
    slide_tiles: int = 4_000
    slide_dim: int = 1024
    folds: int = 5
    seeds: int = 5
    cell_bags: int = 40
    cell_epochs: int = 2
    curve_tiles: tuple[int, ...] = (10_000, 30_000, 100_000, 300_000, 1_000_000)
    device: str = "cpu"


DEFAULT = Scale()
QUICK = Scale(
    seconds=0.5,
    step_tiles=(1_000, 10_000),
    step_dims=((384, 128), (1024, 512)),
    model_tiles=2_000,
    slides=10,
    slide_tiles=2_000,
    folds=3,
    seeds=3,
    cell_bags=30,
    cell_epochs=2,
    curve_tiles=(10_000, 30_000, 100_000),
)
"""A minute: what the guard against regressions measures."""
