"""What a run's features are like: how they were made, how far slides are from training, who is who."""

import json
import math
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asmil.bags import OTHER_SIZE, FeatureInfo, FeatureStore, Fingerprint, fingerprint, listed, twins_of
from asmil.errors import ConfigError, FeatureError, RunError, as_typed, did_you_mean
from asmil.extraction import content_hash
from asmil.files import Facts
from asmil.runs import Run
from asmil.training import Standardized
from asmil.units import same_mpp

# How the features of a run were made, and whether other features were made in the same way.

OF_THE_SLIDE = frozenset({"slide_mpp", "objective", "reader", "tissue"})
"""Settings that say something about one slide, not about how features are made."""

ONLY_TOLD = ("asmil_version",)
"""What may differ without being accepted, and is told: another version may find other tissue with equal settings."""

NEVER = frozenset({"dim"})
"""What may not differ: no model takes features of another dimension."""

TILE_TOLERANCE = 0.02
"""Of a tile's side in micrometres, where a file says only that: sides are rounded to level-0 pixels."""


@dataclass(frozen=True)
class Preprocessing:
    """The ways in which the features of a run were made: by setting, the values that occur among its slides."""

    values: dict[str, list[Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, infos: Iterable[FeatureInfo]) -> "Preprocessing":
        """What the feature files of a run say."""
        made = cls()
        for info in infos:
            for name, value in facts_of(info).items():
                if value not in made.values.setdefault(name, []):
                    made.values[name].append(value)
        return made

    def differences(self, facts: Mapping[str, object]) -> dict[str, str]:
        """By setting, in words, what is different; a setting that one side does not state is not compared."""
        return {
            name: f"{name} is {value}, the run was trained with {' or '.join(map(str, self.values[name]))}"
            for name, value in facts.items()
            if name in self.values and not any(_same(name, value, known) for known in self.values[name])
        }

    def require_compared(self, names: Iterable[str]) -> None:
        """Refuse to accept differences in what is not compared, which a typing error would do in silence.

        Raises:
            ConfigError: a name of no setting that the run's features state, or of one that no model can do without.
        """
        known = sorted(self.values.keys() - NEVER - {*ONLY_TOLD})
        if unknown := [name for name in names if name not in known]:
            question = did_you_mean(unknown[0], known)
            raise ConfigError(
                f"{as_typed('--accept', *unknown)}: features are not compared by that, or have to be the same in it",
                found=f"what the features of the run state: {listed(known, 30) or 'nothing'}",
                fix=f"{question} " * bool(question) + "give one of these, or leave it out",
            )

    def check(self, what: str, facts: Mapping[str, object], *, accept: Sequence[str] = ()) -> list[str]:
        """Refuse other features; returns the differences, in words, in settings that the caller accepts.

        Raises:
            FeatureError: a difference that is not among `accept`.
        """
        different = self.differences(facts)
        taken = {*accept, *ONLY_TOLD} - NEVER
        refused = {name: text for name, text in different.items() if name not in taken}
        if refused:
            encoder = next(map(str, self.values.get("encoder", [])), "")
            of_slides = self.values.get("features_of") == ["slides"]
            embed = f"make them by asmil embed-slides FEATURES --slide-encoder {as_typed(encoder)}"
            way = embed if of_slides else "use --slides, which are prepared as the run says"
            one = as_typed("--accept", next(iter(refused)))
            raise FeatureError(
                f"{what} was not made as the features of this run",
                found=listed(refused.values()),
                fix=way if NEVER & refused.keys() else f"{way}; or, where it is known not to matter, {one}",
            )
        return list(different.values())


def facts_of(info: FeatureInfo) -> dict[str, object]:
    """What a feature file states about its making."""
    settings = _settings(info.provenance.get("settings"))
    stated = {
        "dim": info.dim,
        "encoder": info.encoder,
        "mpp": info.mpp,
        **{name: info.provenance.get(name) for name in ("weight_hash", *ONLY_TOLD)},
        "tile_um": None if settings else info.tile_um,
        "features_of": "slides" if "slide_encoder" in info.provenance else "tiles",
    }
    own = {name: value for name, value in settings.items() if name not in OF_THE_SLIDE}
    return {name: value for name, value in stated.items() if value is not None} | own


def _settings(text: object) -> dict[str, object]:
    try:
        settings = json.loads(text) if isinstance(text, str) else None
    except ValueError:  # another tool's file
        return {}
    return settings if isinstance(settings, dict) else {}


def _same(name: str, value: Any, known: Any) -> bool:
    if name == "mpp" and value and known:
        return same_mpp(value, known)
    if name == "tile_um":
        return abs(value - known) <= TILE_TOLERANCE * known
    return value == known


# How far the features of a slide are from those a model was trained on, and from where on that is worth a warning.

FALSE_ALARMS = 0.01
"""Of each measure, on slides like those of the run, as far as their number allows it."""

UNMEASURED = "drift was not looked for, nor slides of the training by other names: the run's features are not at hand"
FAR = 2.0
"""Unusual is a slide with over twice the most tiles of the run's slides, or under half the fewest."""


@dataclass(frozen=True)
class Distance:
    """Of a slide's features from those of a training part, both 0 where they are the same.

    `shift` is the root mean square over the features of (mean of the slide - mean of training) / standard deviation of
    training; `clamped` the share of values that are beyond the limit at which the model cuts them off.
    """

    shift: float
    clamped: float


@torch.no_grad()
def distance(features: Tensor, models: Sequence[Standardized]) -> Distance:
    """The mean distance of features (tiles, dim) from the training parts of models; equal statistics count once."""
    statistics: list[tuple[Tensor, Tensor, float]] = []
    for model in models:
        if not any(torch.equal(model.mean, mean) and torch.equal(model.std, std) for mean, std, _ in statistics):
            statistics.append((model.mean, model.std, model.limit))
    found = [_distance(features, *one) for one in statistics]
    return Distance(*(float(value) for value in torch.tensor(found, dtype=torch.float64).mean(0)))


def _distance(features: Tensor, mean: Tensor, std: Tensor, limit: float) -> tuple[float, float]:
    varies = torch.isfinite(std)  # a feature that was constant in training passes as zeros
    scaled = ((features.to(mean.device, mean.dtype) - mean) / std)[:, varies]
    if not scaled.shape[1]:
        return 0.0, 0.0
    return float(scaled.mean(0).square().mean().sqrt()), float((scaled.abs() > limit).float().mean())


@torch.no_grad()
def other_size(features: Tensor, models: Sequence[Standardized]) -> list[str]:
    """A warning where the numbers of a slide (tiles, dim) are far larger or smaller than those of training, in words.

    Far smaller ones lie at the middle of most training parts, where no drift is seen.
    """
    if not models:
        return []
    varies = torch.isfinite(models[0].std)  # whose deviation is known
    usual = float((models[0].mean.square() + models[0].std.square())[varies].mean().sqrt())
    known = features.to(varies.device)[:, varies]
    own = float(torch.linalg.vector_norm(known, dtype=torch.float64)) / max(known.numel(), 1) ** 0.5
    if not varies.any() or usual / OTHER_SIZE <= own <= usual * OTHER_SIZE:
        return []
    return [f"numbers of another size: {own:.3g} (root mean square), those of training {usual:.3g}"]


def threshold(values: Sequence[float]) -> float:
    """The value that a further one of the same kind exceeds with a probability of `FALSE_ALARMS` at most.

    With fewer than 1 / FALSE_ALARMS - 1 values it is the largest, which a further one exceeds with a probability of at
    most 1 / (values + 1).

    Source: split conformal prediction (Vovk et al. 2005; Lei et al. 2018), for exchangeable values.
    """
    place = math.ceil((len(values) + 1) * (1 - FALSE_ALARMS))
    return sorted(values)[min(place, len(values)) - 1]


@dataclass(frozen=True)
class Alarms:
    """From where on a slide is unlike those of the run: largest distance, fewest and most tiles."""

    shift: float
    clamped: float
    tiles: tuple[float, float]

    @classmethod
    def of(cls, held_out: Sequence[Distance], tiles: Sequence[int]) -> "Alarms":
        """From slides that the models did not train on, and the numbers of tiles of the run's slides."""
        return cls(
            shift=threshold([slide.shift for slide in held_out]),
            clamped=threshold([slide.clamped for slide in held_out]),
            tiles=(min(tiles) / FAR, max(tiles) * FAR),
        )

    def warnings(self, found: Distance, tiles: int) -> list[str]:
        """What is unusual about a slide, in words."""
        said = []
        if found.shift > self.shift:
            said.append(f"features drift from training: shift {found.shift:.2f}, usual up to {self.shift:.2f}")
        if found.clamped > self.clamped:
            said.append(f"extreme features: {found.clamped:.2%} of the values, usual up to {self.clamped:.2%}")
        if not self.tiles[0] <= tiles <= self.tiles[1]:
            kind = "little" if tiles < self.tiles[0] else "much"
            usual = f"{self.tiles[0] * FAR:.0f} to {self.tiles[1] / FAR:.0f}"
            said.append(f"{kind} tissue: {tiles} tiles, those of the run had {usual}")
        return said


def false_alarms(held_out: Sequence[Distance], tiles: Sequence[int]) -> float | None:
    """The share of the run's own held-out slides that raise a warning, each judged by the others; None for one slide.

    `tiles` are the numbers of tiles of the same slides.
    """
    if len(held_out) < 2:
        return None
    raised = []
    for i, slide in enumerate(held_out):
        others = Alarms.of([*held_out[:i], *held_out[i + 1 :]], [*tiles[:i], *tiles[i + 1 :]])
        raised.append(bool(others.warnings(slide, tiles[i])))
    return sum(raised) / len(raised)


@dataclass(frozen=True)
class SlideFacts:
    """A slide of the run: its tiles, digests of its features and (where the file was at hand) of its file, the
    distance of its features from what models were trained on that never saw it, and its fingerprint as text."""

    tiles: int
    features: str
    file: str | None = None
    held_out: Distance | None = None
    print: str = ""


@dataclass(frozen=True)
class Profile:
    """The slides of a run by name, how they were prepared, and the `digest` of the models this was measured with."""

    digest: str
    preprocessing: Preprocessing
    slides: dict[str, SlideFacts] = field(default_factory=dict)

    @property
    def held_out(self) -> dict[str, SlideFacts]:
        """The slides whose distance from training is known."""
        return {name: facts for name, facts in self.slides.items() if facts.held_out is not None}

    def alarms(self) -> Alarms | None:
        """What counts as unlike the run's slides; None where nothing was held out."""
        known = [facts.held_out for facts in self.held_out.values() if facts.held_out]
        return Alarms.of(known, [facts.tiles for facts in self.slides.values()]) if known else None

    def false_alarms(self) -> float | None:
        """The share of the run's own held-out slides that would raise a warning; None where that is not known."""
        known = self.held_out.values()
        return false_alarms([facts.held_out for facts in known if facts.held_out], [facts.tiles for facts in known])

    @cached_property
    def key(self) -> str:
        """Changes with anything that is known here of the slides."""
        return blake2b(json.dumps(asdict(self), default=str).encode()).hexdigest()

    @cached_property
    def prints(self) -> dict[str, Fingerprint]:
        """The fingerprints of the slides, as far as they were taken."""
        return {name: _print_of(facts.print, facts.tiles) for name, facts in self.slides.items() if facts.print}

    def twins(self, features: Tensor, file: str | None, *, load: Callable[[str], np.ndarray]) -> list[str]:
        """The slides of the run that have the same features or the same file.

        Features that are only alike are compared tile by tile with those that `load` gives.
        """
        digest, slides = features_digest(features), self.slides.items()
        if same := [name for name, own in slides if own.features == digest or (file is not None and own.file == file)]:
            return same
        own = features.float().cpu().numpy()
        return [twin.other for twin in twins_of(fingerprint(own), self.prints, lambda name: (own, load(name)))]

    def save(self, run: Run) -> None:
        """Write it into a run, unless that cannot be written to: it can be measured again."""
        with suppress(OSError):
            run.write_profile(asdict(self))

    @classmethod
    def of(cls, run: Run, *, digest: str) -> "Profile | None":
        """The profile that was measured of a run, if it was with these models.

        Raises:
            RunError: it is damaged.
        """
        stored = run.profile
        if stored is None:
            return None
        try:
            slides = {str(name): _facts(values) for name, values in stored["slides"].items()}
            profile = cls(str(stored["digest"]), Preprocessing(**stored["preprocessing"]), slides)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise RunError(
                f"{run.profile_file} is damaged",
                found=repr(error)[:200],
                fix="delete it; it is measured again from the features",
            ) from error
        return profile if profile.digest == digest else None


def _facts(values: Facts) -> SlideFacts:
    held_out = values["held_out"]
    return SlideFacts(**{**values, "held_out": Distance(**held_out) if held_out else None})


def measure(
    store: FeatureStore,
    slides: Sequence[str],
    *,
    digest: str,
    unseen: Callable[[str], Sequence[Standardized]],
    files: Mapping[str, Path],
    progress: Callable[[int], None] | None = None,
) -> Profile:
    """Read the features of a run's slides once and note what they are like.

    Args:
        unseen: the models that did not train on a slide; none where they do not standardise.
        files: slide files by name, as far as they are at hand.

    Raises:
        FeatureError: a feature file is damaged or gone.
    """
    facts: dict[str, SlideFacts] = {}
    infos = []
    for slide in slides:
        infos.append(store.info(slide))
        features, models = store.load(slide).features, unseen(slide)
        facts[slide] = SlideFacts(
            tiles=len(features),
            features=features_digest(features),
            file=file_digest(files.get(slide)),
            held_out=distance(features, models) if models else None,
            print=_text_of(fingerprint(features.float().cpu().numpy())),
        )
        (progress or (lambda n: None))(1)
    return Profile(digest, Preprocessing.of(infos), facts)


def features_digest(features: Tensor) -> str:
    """Of the numbers (tiles, dim) in half precision, in which feature files hold them."""
    return blake2b(features.to(torch.float16).contiguous().numpy().tobytes(), digest_size=16).hexdigest()


def _text_of(own: Fingerprint) -> str:
    return " ".join(b64encode(keys.tobytes()).decode() for keys in (own.exact, own.near))


def _print_of(text: str, tiles: int) -> Fingerprint:
    exact, _, near = text.partition(" ")
    return Fingerprint(_keys(exact), _keys(near), tiles)


def _keys(text: str) -> np.ndarray:
    return np.frombuffer(b64decode(text), np.uint64)


def file_digest(path: Path | None) -> str | None:
    """Of a slide file; None for none, or one that is gone."""
    if path is None:
        return None
    try:
        return content_hash(path)
    except OSError:
        return None
