"""Cross-validation in memory for studies: all folds and seeds of one recipe, together where the method allows it."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from asmil.attention import AttentionStabilizer
from asmil.bags import Bag
from asmil.training._ledger import CellPlan, CellRecord, Ledger
from asmil.training._together import Together
from asmil.training.fit import fit
from asmil.training.predict import predict
from asmil.training.recipe import Recipe, has_scores

__all__ = ["CellPlan", "CellRecord", "train_cells"]

_TRAINING = ("train_loss", "kl", "beta", "gradient_ratio", "lr")


def train_cells(recipe: Recipe, bags: Sequence[Bag], plans: Sequence[CellPlan], *, n_classes: int) -> list[CellRecord]:
    """Train a model per plan, for all epochs of the settings; no refit.

    The models are trained together, in one pass over the bags, unless the method has stages or a teacher of its own.
    Then all of them see the same batches in the same order, and seeds differ in initial weights, dropout and plan.
    Patience does not apply: the best of all epochs is kept.

    Raises:
        AsmilError: the loss is not finite.
    """
    started = time.monotonic()
    models = [_build(recipe, bags, plan, n_classes=n_classes) for plan in plans]
    together = not any(hasattr(models[0], hook) for hook in ("prepare", "after_step"))
    if together:
        ledgers = [_train_together(recipe, bags, plans, models=models)]
    else:
        pairs = zip(models, plans, strict=True)
        ledgers = [_train_alone(recipe, bags, plan, model=model) for model, plan in pairs]
    seconds = (time.monotonic() - started) / len(plans)
    return [record for ledger in ledgers for record in ledger.records(together=together, seconds=seconds)]


def _build(recipe: Recipe, bags: Sequence[Bag], plan: CellPlan, *, n_classes: int) -> nn.Module:
    train = [bags[i] for i in plan.train]
    return recipe.build(in_dim=bags[0].features.shape[1], n_classes=n_classes, train=train, seed=plan.seed)


def _train_together(
    recipe: Recipe, bags: Sequence[Bag], plans: Sequence[CellPlan], *, models: list[nn.Module]
) -> Ledger:
    attends = has_scores(models[0], bags[0])
    trains = np.zeros((len(plans), len(bags)), dtype=bool)
    for row, plan in zip(trains, plans, strict=True):
        row[list(plan.train)] = True
    seed = plans[0].seed
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        stabilizer = recipe.stabilizer if attends else None
        anchors = None
        if stabilizer and stabilizer.get("init") == "independent":
            anchors = [_anchor(recipe, model, bags[0], seed=p.seed) for model, p in zip(models, plans, strict=True)]
        models_together = Together(
            models, bags, trains, settings=recipe.settings, stabilizer=stabilizer, anchors=anchors
        )
        ledger = Ledger(bags, plans, has_scores=attends)
        for epoch in range(recipe.settings.epochs):
            means = models_together.train_epoch(epoch)
            ledger.add(means, *models_together.evaluate())
    return ledger


def _anchor(recipe: Recipe, model: nn.Module, bag: Bag, *, seed: int) -> nn.Module:
    """The anchor that the model would have alone."""
    stabilizer = cast(AttentionStabilizer, recipe.stabilize(model, bag, seed=seed))
    stabilizer.detach()
    return stabilizer.anchor.module


def _train_alone(recipe: Recipe, bags: Sequence[Bag], plan: CellPlan, *, model: nn.Module) -> Ledger:
    train, val = [bags[i] for i in plan.train], [bags[i] for i in plan.val]
    ledger = Ledger(bags, [plan], has_scores=has_scores(model, bags[0]))

    def listen(event: str, **values: Any) -> None:
        if event == "epoch":
            predictions = predict(values["model"], bags)
            row = values["row"]
            probabilities = np.stack([p.probabilities for p in predictions])
            attention = np.concatenate([p.attention for p in predictions])
            known = {name: np.array([row[name]]) for name in _TRAINING if name in row}
            ledger.add(known, np.log(np.maximum(probabilities, 1e-30))[None], attention[None])

    settings = replace(recipe.settings, patience=recipe.settings.epochs)
    stabilizer = recipe.stabilize(model, bags[0], seed=plan.seed)
    fit(model, train, val, settings=settings, stabilizer=stabilizer, listeners=[listen], seed=plan.seed)
    return ledger
