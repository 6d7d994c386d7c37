"""A study of digit bags, and a training that only pretends, for the tests of what is around the training."""

from pathlib import Path

import numpy as np
import pytest

from asmil.study import cells, load_study
from asmil.study.cells import CellRecord

DIGITS = "{name: digits, bags: 24, tiles_per_bag: 6, positive_share: .3}"
STUDY = f"""\
datasets: [{DIGITS}]
models: [mean, abmil]
stabilizers: {{none: null, anchor: {{beta: 0.1}}}}
folds: 2
seeds: 2
settings: {{epochs: 3, batch_size: 8, warmup_epochs: 0}}
"""


class PretendedTraining:
    """Stands for `train_cells`: numbers that follow from the plan; `calls` are (model, seeds), `fail` says which."""

    def __init__(self):
        self.calls: list[tuple[str, tuple[int, ...]]] = []
        self.fail = lambda model, seeds: False

    def __call__(self, recipe, bags, plans, *, n_classes):
        seeds = tuple(plan.seed for plan in plans)
        self.calls.append((recipe.model, seeds))
        if self.fail(recipe.model, seeds):
            raise RuntimeError("no good")
        return [self._cell(recipe, bags, plan, n_classes) for plan in plans]

    def _cell(self, recipe, bags, plan, n_classes):
        rng = np.random.default_rng([plan.seed, *plan.test])
        epochs, scored = recipe.settings.epochs, recipe.model != "mean"
        names = ("train_loss", "val_loss", "val_auroc", *(("kl", "jsd", "entropy") if scored else ()))
        history = [dict(zip(names, rng.random(len(names)).tolist(), strict=True)) for _ in range(epochs)]
        history[0].pop("jsd", None)
        probabilities = rng.dirichlet(np.ones(n_classes), size=(epochs, len(bags))).astype(np.float32)
        attention = [rng.dirichlet(np.ones(len(bag))).astype(np.float32) for bag in bags] if scored else []
        return CellRecord(history, 1, probabilities, attention, 0.5)


@pytest.fixture
def training(monkeypatch) -> PretendedTraining:
    """Replaces the training of cells."""
    pretended = PretendedTraining()
    monkeypatch.setattr(cells, "train_cells", pretended)
    return pretended


@pytest.fixture
def study(tmp_path):
    """A function from YAML (the small study, with other lines) to its settings, with `out` in this test's folder."""

    def load(text: str = STUDY, *, only: str | None = None, **flags):
        path = Path(tmp_path / "study.yaml")
        path.write_text(text, encoding="utf-8")
        return load_study(path, {"out": tmp_path / "out"} | flags, only=only)

    return load
