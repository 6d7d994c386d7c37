"""Cells of a study in memory: every epoch's predictions, and statistics of the attention."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from asmil.bags import Bag
from asmil.draws import stream
from asmil.errors import CohortError
from asmil.study.ledger import CellPlan, CellRecord, Ledger
from asmil.training import Member, Prediction, Recipe, has_scores, train_members


def train_cells(recipe: Recipe, bags: Sequence[Bag], plans: Sequence[CellPlan], *, n_classes: int) -> list[CellRecord]:
    """Train a model per plan, for all epochs of the settings; no refit. Plans of the same parts train side by side.

    Patience does not apply: the best of all epochs is kept.

    Raises:
        AsmilError: the loss is not finite.
        CohortError: bags of another task than classification.
    """
    if any(bag.target is not None for bag in bags):
        raise CohortError(
            "studies compare classifiers", found="bags with targets of another task", fix="asmil crossval"
        )
    records: dict[int, CellRecord] = {}
    groups: dict[tuple, list[int]] = {}
    for index, plan in enumerate(plans):
        groups.setdefault((plan.train, plan.val), []).append(index)
    for indexes in groups.values():
        several = _train(recipe, bags, [plans[i] for i in indexes], n_classes=n_classes)
        records |= dict(zip(indexes, several, strict=True))
    return [records[index] for index in range(len(plans))]


def _train(recipe: Recipe, bags: Sequence[Bag], plans: Sequence[CellPlan], *, n_classes: int) -> list[CellRecord]:
    """Plans that differ in their seeds only."""
    started = time.monotonic()
    train, val = ([bags[i] for i in part] for part in (plans[0].train, plans[0].val))
    settings = replace(recipe.settings, patience=recipe.settings.epochs)
    members, ledgers = [], []
    for plan in plans:
        model = recipe.build(in_dim=bags[0].features.shape[1], n_classes=n_classes, train=train, seed=plan.seed)
        ledgers.append(Ledger(bags, plan, has_scores=has_scores(model, bags[0])))
        stabilizer = recipe.stabilize(model, bags[0], seed=plan.seed)
        key = ("parts", stream(*plan.train), "seed", plan.seed)
        members.append(Member(model, settings, stabilizer, key=key, listeners=[_Accounts(ledgers[-1])]))
    for _ in train_members(members, train, val, also=bags, one_pass=True):
        pass
    for member in members:
        if member.error:
            raise member.error
    seconds = (time.monotonic() - started) / len(plans)
    return [ledger.record(seconds=seconds) for ledger in ledgers]


class _Accounts:
    """The listener that enters every epoch into a ledger."""

    def __init__(self, ledger: Ledger):
        self.ledger = ledger

    def __call__(self, event: str, **values: Any) -> None:
        if event == "epoch":
            predictions: list[Prediction] = values["also"]
            self.ledger.add(values["row"], predictions)
