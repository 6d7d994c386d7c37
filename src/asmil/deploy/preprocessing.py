"""How the features of a run were made, and whether other features were made in the same way."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from asmil.bags import FeatureInfo, listed
from asmil.errors import FeatureError
from asmil.units import same_mpp

OF_THE_SLIDE = frozenset({"slide_mpp", "objective", "reader", "tissue"})
"""Settings that say something about one slide, not about how features are made."""

ONLY_TOLD = ("asmil_version",)
"""What may differ without being accepted, and is told: another version may find other tissue with equal settings."""

TILE_TOLERANCE = 0.02
"""Of a tile's side in micrometres, where a file says only that: sides are rounded to level-0 pixels."""


@dataclass(frozen=True)
class Preprocessing:
    """The ways in which the features of a run were made: by setting, the values that occur among its slides."""

    values: dict[str, list[Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, infos: Iterable[FeatureInfo]) -> "Preprocessing":
        """What the feature files of a run say."""
        values: dict[str, list[Any]] = {}
        for info in infos:
            for name, value in facts_of(info).items():
                if value not in values.setdefault(name, []):
                    values[name].append(value)
        return cls(values)

    def differences(self, facts: Mapping[str, Any]) -> dict[str, str]:
        """By setting, in words, what is different; a setting that one side does not state is not compared."""
        return {
            name: f"{name} is {value}, the run was trained with {' or '.join(map(str, self.values[name]))}"
            for name, value in facts.items()
            if name in self.values and not any(_same(name, value, known) for known in self.values[name])
        }

    def check(self, what: str, facts: Mapping[str, Any], *, accept: Sequence[str] = ()) -> list[str]:
        """Refuse other features; returns the differences, in words, in settings that the caller accepts.

        Raises:
            FeatureError: a difference that is not among `accept`.
        """
        different = self.differences(facts)
        refused = {name: text for name, text in different.items() if name not in (*accept, *ONLY_TOLD)}
        if refused:
            raise FeatureError(
                f"{what} was not made as the features of this run",
                found=listed(refused.values()),
                fix="use --slides, which are prepared as the run says; or, where it is known "
                f"not to matter, --accept {next(iter(refused))}",
            )
        return list(different.values())


def facts_of(info: FeatureInfo) -> dict[str, Any]:
    """What a feature file states about its making."""
    settings = _settings(info.provenance.get("settings"))
    stated = {
        "dim": info.dim,
        "encoder": info.encoder,
        "mpp": info.mpp,
        **{name: info.provenance.get(name) for name in ("weight_hash", *ONLY_TOLD)},
        "tile_um": None if settings else info.tile_um,
    }
    own = {name: value for name, value in settings.items() if name not in OF_THE_SLIDE}
    return {name: value for name, value in stated.items() if value is not None} | own


def _settings(text: Any) -> dict[str, Any]:
    try:
        settings = json.loads(text)
    except (TypeError, ValueError):  # another tool's file
        return {}
    return settings if isinstance(settings, dict) else {}


def _same(name: str, value: Any, known: Any) -> bool:
    if name == "mpp" and value and known:
        return same_mpp(value, known)
    if name == "tile_um":
        return abs(value - known) <= TILE_TOLERANCE * known
    return value == known
