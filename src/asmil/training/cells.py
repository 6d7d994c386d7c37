"""Cross-validation in memory for studies: all folds and seeds of one recipe, together where the method allows it."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from asmil.bags import Bag
from asmil.errors import CohortError
from asmil.training._ledger import CellPlan, CellRecord, Ledger
from asmil.training._steps import cohort_steps
from asmil.training._together import Together
from asmil.training.batches import bag_order
from asmil.training.fit import fit
from asmil.training.optim import learning_rate
from asmil.training.predict import predict
from asmil.training.recipe import Recipe, anchors_of, has_scores, stackable

__all__ = ["CellPlan", "CellRecord", "train_cells"]

_TRAINING = ("train_loss", "kl", "beta", "gradient_ratio", "lr")


def train_cells(recipe: Recipe, bags: Sequence[Bag], plans: Sequence[CellPlan], *, n_classes: int) -> list[CellRecord]:
    """Train a model per plan, for all epochs of the settings; no refit.

    The models are trained together, in one pass over the bags, unless the method has stages or a teacher of its own.
    Then all of them see the same batches in the same order, about `batch_size` bags of their own in each; seeds differ
    in initial weights, dropout and plan.
    Patience does not apply: the best of all epochs is kept.

    Raises:
        AsmilError: the loss is not finite.
        CohortError: bags of another task than classification.
    """
    if any(bag.target is not None for bag in bags):
        raise CohortError(
            "studies compare classifiers", found="bags with targets of another task", fix="asmil crossval"
        )
    started = time.monotonic()
    models = [_build(recipe, bags, plan, n_classes=n_classes) for plan in plans]
    together = stackable(models[0])
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
    attends, settings = has_scores(models[0], bags[0]), recipe.settings
    trains = np.zeros((len(plans), len(bags)), dtype=bool)
    for row, plan in zip(trains, plans, strict=True):
        row[list(plan.train)] = True
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plans[0].seed)
        stabilizer = recipe.stabilizer if attends else None
        anchors = anchors_of(recipe, models, bags[0], seeds=[plan.seed for plan in plans])
        together = Together(models, bags, settings=settings, stabilizer=stabilizer, anchors=anchors)
        ledger = Ledger(bags, plans, has_scores=attends)
        for epoch in range(settings.epochs):
            order = bag_order(bags, settings=settings, epoch=epoch)
            steps = cohort_steps(order, trains, batch_size=settings.batch_size)
            progress = epoch + np.arange(len(steps)) / len(steps)
            rates = np.array([learning_rate(settings, at) for at in progress])[:, None].repeat(len(plans), 1)
            losses = together.train_epoch(epoch, steps, rates=rates)
            sizes = np.array([step.sizes for step in steps])
            means = {name: (losses[name] * sizes).sum(0) / sizes.sum(0) for name in ("task", "kl")}
            beta = together.schedule.beta if together.schedule else np.nan
            told = {
                "train_loss": means["task"],
                "kl": means["kl"],
                "gradient_ratio": losses["ratio"][0],
                "lr": rates[-1],
                "beta": np.full(len(plans), beta),
            }
            logits, attention, _ = together.predict(range(len(plans)), bags)
            ledger.add(told, logits, attention)
    return ledger


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
