"""What a study trains: its arms, the groups of cells still to train, and the record of what belongs together."""

import fnmatch
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from asmil.bags import Bag, BagBatch
from asmil.errors import AsmilError, ConfigError, RunError
from asmil.files import write_json
from asmil.models import model_info
from asmil.runs import STUDY
from asmil.study.config import Part, StudyConfig, told
from asmil.study.data import StudyData
from asmil.training import Recipe

Cell = tuple[int, int]
"""Fold and seed."""

# What lies in a study's folder, and, in a folder of `ARMS`, of an arm; the rest is as in a run (`asmil.runs`).
RESULTS, ARMS = "results.csv", "arms"
TABLES = ("history", "predictions", "cells")
"""The tables of an arm; a cell counts as finished with its row in the last one, which is written last."""


def table_file(folder: Path, name: str) -> Path:
    """One of the `TABLES` in the folder of an arm."""
    return folder / f"{name}.csv"


@dataclass(frozen=True)
class Arm:
    """One model with one stabiliser (`options` None: without) on one dataset; every fold and seed is a cell of it."""

    dataset: Part
    model: Part
    stabilizer: str
    options: dict[str, object] | None

    @property
    def name(self) -> str:
        """<dataset>--<model>--<stabilizer>, which is also its folder."""
        return f"{self.dataset.label}--{self.model.label}--{self.stabilizer}"

    def recipe(self, config: StudyConfig) -> Recipe:
        """What is trained in every cell."""
        return Recipe(
            model=self.model.name,
            model_options=self.model.options,
            stabilizer=self.options,
            settings=config.settings,
            standardize=config.standardize,
            refit=False,
            device=config.device,
        )


@dataclass(frozen=True)
class Group:
    """Cells of an arm that are trained side by side and written together: those that differ in their seeds only."""

    arm: Arm
    cells: tuple[Cell, ...]


def list_arms(config: StudyConfig, *, only: str | None = None) -> list[Arm]:
    """Every arm, by dataset; models without attention come without stabiliser only.

    `only` chooses by name: a shell pattern (`musk*--abmil--*`), or a part of the name.

    Raises:
        ConfigError: no arm has such a name.
    """
    arms = []
    without = next((name for name, options in config.stabilizers.items() if options is None), "none")
    for dataset in config.datasets:
        for model in config.models:
            chosen = config.stabilizers if model_info(model.name).aligned else {without: None}
            arms += [Arm(dataset, model, name, options) for name, options in chosen.items()]
    found = [arm for arm in arms if only is None or fnmatch.fnmatchcase(arm.name, f"*{only}*")]
    if not found:
        raise ConfigError(f"no arm matches {only!r}", found=", ".join(arm.name for arm in arms))
    return found


def unfit(config: StudyConfig, *, only: str | None = None) -> list[tuple[str, str]]:
    """The stabilisers that cannot be attached to a model of their arms: name, and which models and why.

    Where the scores lie depends on the model, so each pair is made once and aligned once, on two small bags.

    Raises:
        ConfigError: as `list_arms`.
    """
    models: dict[tuple[str, str], list[str]] = {}
    tried: set[tuple[str, str]] = set()
    for arm in list_arms(config, only=only):
        pair = (arm.stabilizer, arm.model.label)
        if arm.options is not None and pair not in tried and (why := misfit(arm.recipe(config))):
            models.setdefault((arm.stabilizer, why), []).append(arm.model.label)
        tried.add(pair)
    return [
        (name, f"the stabiliser {name!r} does not fit {', '.join(labels)}: {why}")
        for (name, why), labels in models.items()
    ]


def misfit(recipe: Recipe, *, in_dim: int = 64, n_classes: int = 2) -> str:
    """Why a model cannot be made for such bags, or its stabiliser not align it; empty where all is well."""
    import torch

    with torch.random.fork_rng(devices=[]):
        places = torch.stack([torch.arange(8) % 3, torch.arange(8) // 3], dim=1) * 256
        bags = [
            Bag(torch.randn(8, in_dim), places, f"probe {label}", f"probe {label}", label, 256.0) for label in (0, 1)
        ]
        try:
            on_cpu = replace(recipe, device="cpu")
            model = on_cpu.build(in_dim=in_dim, n_classes=n_classes, train=bags, seed=0)
            if (stabilizer := on_cpu.stabilize(model, bags[0])) is None:
                return ""
            model.train()(BagBatch.from_bags(bags))
            stabilizer.divergence()
        except AsmilError as error:
            return told(error)
        except (TypeError, ValueError, RuntimeError, AttributeError, LookupError) as error:  # of a model of others
            return f"{type(error).__name__}: {error}"
    return ""


def groups_of(arm: Arm, data: StudyData, *, finished: set[Cell]) -> list[Group]:
    """The arm's unfinished cells, together where they differ in their seeds only: these train side by side."""
    groups: dict[tuple, list[Cell]] = {}
    for seed in data.config.seeds:
        for fold in data.splits(seed).folds:
            if (fold, seed) not in finished:
                groups.setdefault(data.parts(fold, seed), []).append((fold, seed))
    return [Group(arm, tuple(cells)) for cells in groups.values()]


def claim(config: StudyConfig, facts: dict[str, dict[str, object]]) -> None:
    """Record what the study under `out` is made of, in study.json, or check that it goes on as it began.

    Datasets, models, stabilisers and seeds may be added; one that is there already must not change, nor may the
    common settings. `facts` identify each dataset's data, by label.

    Raises:
        RunError: something has changed; the message says what.
    """
    path = Path(config.out) / STUDY
    identity = json.loads(json.dumps(_identity(config, facts), default=str))
    before: dict[str, dict[str, object]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    changed = [
        f"{kind}.{name} was {old[name]!r}, is {new!r}"
        for kind, old in before.items()
        for name, new in identity.get(kind, {}).items()
        if name in old and old[name] != new
    ]
    if changed:
        more = f"; and {len(changed) - 8} more" if len(changed) > 8 else ""
        raise RunError(
            f"{config.out} holds a study made with other settings",
            found="; ".join(changed[:8]) + more,
            fix="choose another `out`, give the changed part a label of its own, or delete the folder",
        )
    write_json(path, {kind: before.get(kind, {}) | new for kind, new in identity.items()})


def _identity(config: StudyConfig, facts: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
    values = config.model_dump(mode="json")
    common = ("folds", "resplit", "val_fraction", "standardize", "min_coverage")
    return {
        "common": {name: values[name] for name in common},
        "settings": values["settings"],
        "datasets": {label: {"name": name} | facts[label] for label, name in _names(config.datasets) if label in facts},
        "models": {part.label: {"name": part.name, "options": part.options} for part in config.models},
        "stabilizers": dict(config.stabilizers),
    }


def _names(parts: Iterable[Part]) -> list[tuple[str, str]]:
    return [(part.label, part.name) for part in parts]
