"""All models of a run as one: mean prediction, how far the members disagree, and what is odd about a slide."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

import numpy as np
from scipy.special import entr
from torch import nn

from asmil.bags import Bag, FeatureStore, SlideNames, flat_tiles, open_features
from asmil.deploy.profile import Distance, Preprocessing, Profile, distance, file_digest, measure, other_size
from asmil.errors import ConfigError, FeatureError, RunError
from asmil.models import evidence, load_published
from asmil.progress import model_name
from asmil.runs import Cell, Run
from asmil.tasks import Task
from asmil.training import Standardized, predict


@dataclass(frozen=True)
class Member:
    """One trained model of a run, in evaluation mode: its fold, its seed, and the SHA-256 of its weights file.

    `task` is what it predicts, as its own training part taught it; None for classification.
    """

    fold: int
    seed: int
    model: nn.Module
    digest: str
    task: Task | None = None

    @property
    def name(self) -> str:
        """As its cell is called: `fold 0 seed 1`."""
        return model_name(self.fold, self.seed)


def load_members(run: Run, *, device: str = "cpu") -> tuple[Member, ...]:
    """The models of all finished cells.

    Raises:
        RunError: weights that cannot be used, do not fit the settings, or were changed after they were trained.
    """
    return tuple(_member(run, cell, device=device) for cell in run.cells())


def _member(run: Run, cell: Cell, *, device: str) -> Member:
    digest = cell.weights_digest
    model, task = cell.model(run.settings, len(run.classes))
    return Member(cell.fold, cell.seed, model.to(device), digest, task)


@dataclass(frozen=True)
class EnsemblePrediction:
    """One slide: `probabilities` (classes,) and `attention` (tiles,) are means over the members that were used.

    `by_member` (members, classes) are their probabilities, in the order of `members` (fold, seed). In another task than
    classification, its values stand for the probabilities. `distance` from the features of training is None where the
    models do not standardise. `seen_as` names the slide of the run that this one is, if any. `warnings` are sentences.
    `threshold` is the probability from which on the second of two classes is called; None where none was chosen.
    """

    slide: str
    probabilities: np.ndarray
    attention: np.ndarray
    by_member: np.ndarray
    members: tuple[tuple[int, int], ...]
    distance: Distance | None
    seen_as: str | None
    warnings: tuple[str, ...]
    threshold: float | None = None

    @property
    def std(self) -> np.ndarray:
        """Standard deviation between the members (classes,), NaN where there is one only."""
        if len(self.by_member) < 2:
            return np.full(self.by_member.shape[1], np.nan)
        return self.by_member.std(axis=0, ddof=1)

    @property
    def called(self) -> int:
        """The class decided for: at the threshold, which sensitivity and specificity are of, else the most probable."""
        if self.threshold is None:
            return int(self.probabilities.argmax())
        return int(self.probabilities[1] >= self.threshold)

    @property
    def entropy(self) -> float:
        """Of the mean probabilities, in nats: how uncertain the prediction is, for whatever reason."""
        return float(entr(self.probabilities).sum())

    @property
    def mutual_information(self) -> float:
        """Entropy of the mean less the mean of the members' entropies, in nats: how far the members disagree."""
        return max(self.entropy - float(entr(self.by_member).sum(1).mean()), 0.0)


class Ensemble:
    """The models of a run, and what is needed to use them on new slides. See `load_ensemble`.

    `partial` says that these are not all models of the run; empty where they are.
    """

    def __init__(self, run: Run, members: Sequence[Member], *, partial: str = ""):
        self.run, self.members, self.partial = run, tuple(members), partial
        self.task = run.task  # None: classification
        self.classes = tuple(run.classes or run.values)
        self.digest = hashlib.sha256("".join(member.digest for member in self.members).encode()).hexdigest()
        self.profile: Profile | None = Profile.of(run, digest=self.digest)
        self._own: FeatureStore | None = None

    def predict(self, bag: Bag, *, slide_file: Path | None = None) -> EnsemblePrediction:
        """Predict one slide by every member; one that the run knows, by the members that did not train on it.

        A slide is known by its name, its features, or the content of its file.

        Args:
            bag: features (tiles, dim) made as the run's; `asmil.deploy.Preprocessing` checks that.

        Raises:
            FeatureError: features of another dimension.
        """
        seen_as, twins = self._known(bag, slide_file)
        members = self.members if seen_as is None else self.unseen(seen_as)
        warnings = [] if seen_as is None else [self._about_training(bag, seen_as, len(members), twins)]
        members = members or self.members
        predictions = [predict(member.model, [bag], task=member.task)[0] for member in members]
        by_member, found = np.stack([p.probabilities for p in predictions]), self._distance(bag, members)
        alarms = self.profile.alarms() if self.profile else None
        if found and alarms:
            warnings += alarms.warnings(found, len(bag))
        warnings += other_size(bag.features, _standardized(members))
        if flat := flat_tiles(bag.features.float().cpu().numpy()):
            warnings.append(f"{flat} of {len(bag)} tiles have features that are one number throughout")
        return EnsemblePrediction(
            slide=bag.slide,
            probabilities=by_member.mean(0, dtype=np.float64),
            attention=np.stack([p.attention for p in predictions]).mean(0, dtype=np.float64),
            by_member=by_member.astype(np.float64),
            members=tuple((member.fold, member.seed) for member in members),
            distance=found,
            seen_as=seen_as,
            warnings=tuple(warnings),
            threshold=self._threshold(members),
        )

    def _threshold(self, members: Sequence[Member]) -> float | None:
        """The mean over the members of the threshold of their fold, as a slide tested in several folds has it."""
        chosen = [self.thresholds.get(member.fold) for member in members]
        known = [threshold for threshold in chosen if threshold is not None]
        return float(np.mean(known)) if len(known) == len(chosen) else None

    @cached_property
    def thresholds(self) -> dict[int, float]:
        """By fold, where the second of two classes begins, as `evaluate` chose it on validation slides; empty where the
        run was not evaluated as it is, or there is nothing to choose."""
        if not self.run.evaluated or self.run.evaluated_part != self.partial:
            return {}
        point = self.run.metrics.get("operating_point") or {}
        return {one["fold"]: one["threshold"] for one in point.get("thresholds", ())}

    @property
    def knows(self) -> str:
        """What a prediction comes from beside the slide: models, thresholds, and what is compared with."""
        return f"{self.digest} {dict(self.thresholds)} {self.profile and self.profile.key}"

    def evidence(self, bag: Bag, *, slide_file: Path | None = None) -> dict[str, np.ndarray]:
        """What each tile of a slide says for each class, float64 (tiles,) by class: mean of the members that `predict`
        uses, in logits less their mean over the classes (`asmil.models.evidence`); none in another task.

        Raises:
            AttentionError: of such a model there is none.
        """
        if self.task is not None:
            return {}
        seen_as = self.known_as(bag, slide_file=slide_file)
        members = (self.members if seen_as is None else self.unseen(seen_as)) or self.members
        found = [evidence(member.model, bag).array for member in members]
        return dict(zip(self.classes, np.mean(found, axis=0).T, strict=True))

    def known_as(self, bag: Bag, *, slide_file: Path | None = None) -> str | None:
        """The slide of the run that a bag is, by features or file, else by name; None for a new one."""
        return self._known(bag, slide_file)[0]

    def _known(self, bag: Bag, slide_file: Path | None) -> tuple[str | None, Sequence[str]]:
        """That, and all slides of the run of the same features or file; none where there is nothing to compare with."""
        named, twins = self._names.find(bag.slide) if bag.slide else [], list[str]()
        if self.profile is not None:
            twins = self.profile.twins(bag.features, file_digest(slide_file), load=self._own_features)
        return next((slide for slide in named if slide in twins), (*twins, *named, None)[0]), twins

    def _own_features(self, slide: str) -> np.ndarray:
        """The features of a slide of the run; none, which are like nothing, where they are not at hand."""
        with suppress(FeatureError):
            self._own = self._own or self.training_features()
            if self._own is not None:
                self.run.require_features([slide], store=self._own)
                return self._own.array(slide)
        return np.empty((0, 0), np.float32)

    def unseen(self, slide: str) -> tuple[Member, ...]:
        """The members that neither trained on a slide of the run nor chose their epoch by it."""
        seen = self._seen.get(slide, set())
        return tuple(member for member in self.members if member.fold not in seen)

    def prepare(self, features: Path | None = None, *, progress: Callable[[int], None] | None = None) -> Profile | None:
        """Measure the run's own slides, once: `profile.json` in its folder keeps all of them; None without features.

        Args:
            features: where the features of the run are, if not where it found them.

        Raises:
            FeatureError: these are features of other slides or of another encoder.
            RunError: they changed after training.
        """
        self._own = self.training_features(features) if features else None
        if self.profile is None and (store := self.training_features(features)) is not None:
            slides = [slide for slide in self.slides if slide in store]
            if not slides or store.dim != _width(self.members[0].model):
                raise FeatureError(
                    f"{store.path} does not hold the features of this run",
                    found=f"{len(slides)} of its {len(self.slides)} slides, dimension {store.dim}",
                    fix="give those that it was trained on (--run-features)",
                )
            self.run.require_features(slides, store=store)
            models = {m.name: m.model for m in self.members if isinstance(m.model, Standardized)}

            def unseen(slide: str) -> list[Standardized]:
                return [models[member.name] for member in self.unseen(slide) if member.name in models]

            self.profile = measure(
                store, slides, digest=self.digest, unseen=unseen, files=self.run.slide_files, progress=progress
            )
            if slides == self.slides:
                self.profile.save(self.run)
        return self.profile

    @property
    def preprocessing(self) -> Preprocessing:
        """How features have to be made: as the run's files say, or its settings where the files are not at hand."""
        if self.profile is not None:
            return self.profile.preprocessing
        known: dict[str, object] = {"dim": _width(self.members[0].model)}
        settings = self.run.settings
        if settings.features is None:  # the run extracted its own
            names = ("mpp", "tile_px", "overlap_px", "min_tissue", "tissue_method")
            known |= {name: getattr(settings, name) for name in names}
            known |= {"encoder": settings.encoder} if settings.stain == "none" else {}
        return Preprocessing({name: [value] for name, value in known.items() if value is not None})

    def training_features(self, features: Path | None = None) -> FeatureStore | None:
        """The features that the run was trained on, if they are still where it found them."""
        path = features or self.run.settings.features or self.run.features
        return open_features(path, encoder=self.run.settings.features_encoder) if Path(path).exists() else None

    @cached_property
    def slides(self) -> list[str]:
        """The slides that the run was trained and tested on."""
        return sorted(self.run.splits["slide"].unique())

    @cached_property
    def _names(self) -> SlideNames:
        return SlideNames(self.slides)

    @cached_property
    def _seen(self) -> dict[str, set[int]]:
        """By slide, the folds that trained on it, or chose the epoch by it."""
        table = self.run.splits
        used = table[table["part"] != "test"]
        return {str(slide): set(rows["fold"]) for slide, rows in used.groupby("slide")}

    def _distance(self, bag: Bag, members: Sequence[Member]) -> Distance | None:
        models = _standardized(members)
        return distance(bag.features, models) if models else None

    def _about_training(self, bag: Bag, seen_as: str, unseen: int, twins: Sequence[str]) -> str:
        name = "" if bag.slide == seen_as else f" as {seen_as}"
        if not unseen:
            return f"this slide was in the training data{name} of every member: the prediction proves nothing"
        who = "the one member" if unseen == 1 else f"the {unseen} members"
        if not twins and self.profile and seen_as in self.profile.slides:
            what = f"this slide has the name of one in the run's cohort{name}, and other features"
            return f"{what}: predicted by {who} that never saw that one, rename the file if it is another slide"
        return f"this slide is in the run's cohort{name}: predicted by {who} that never saw it"


def _width(model: nn.Module) -> int | None:
    """The dimension of the features, as far as the weights say it."""
    state = model.state_dict()
    known = (state.get(key) for key in ("mean", "projection.linear.weight", "probe.weight", "vectors"))
    return next((weight.shape[-1] for weight in known if weight is not None), None)


def load_ensemble(run: str | Path | Run, *, device: str = "cpu", partial: bool = False) -> Ensemble:
    """Load all models of a run for prediction.

    Nothing but tensors, YAML, JSON and CSV is read: a run of a stranger cannot execute anything here.

    Args:
        partial: of an unfinished run, take the models that are finished.

    Raises:
        RunError: not a run, models that are missing or broken, weights that do not fit the settings (see
            `load_members`), or a run whose bags are patients.
    """
    run = Run.open(run)
    if run.unit == "case":
        raise RunError(
            f"{run.folder} predicts patients, and slides cannot be put together to patients here yet",
            found="bag: patient",
            fix="train with --bag slide",
        )
    sentence = run.require_whole(partial=partial)
    if run.task is None and len(run.classes) < 2:
        raise RunError(
            f"{run.folder} does not predict classes",
            found=f"classes {', '.join(run.classes) or 'none'}",
            fix="copy the whole run folder",
        )
    return Ensemble(run, load_members(run, device=device), partial=sentence)


# The authors' trained weights in the place of a run: nothing is known of them but their sizes.

NOT_A_RUN = "weights of the authors' script: one model, nothing calibrated, features not standardised, no drift warning"
"""Stands in every row: who gets the table alone must not take it for a run's."""


class Published:
    """Weights that the authors' script trained, to predict with as an `Ensemble` does: one model that knows no slides.

    Args:
        path: the file, as `asmil.models.load_published` takes it, and `heads`, too.
        classes: their names in the order of training, which the weights do not say; none: class_0, class_1 ...

    Raises:
        WeightsError: no such file, or one that does not hold weights of the authors' ASMIL.
        ConfigError: names for another number of classes, or the same name twice, or `heads` that do not fit.
    """

    task: Task | None = None
    thresholds: Mapping[int, float] = MappingProxyType({})  # nobody chose one
    preprocessing = Preprocessing()  # weights say no more of features than their dimension

    def __init__(self, path: str | Path, *, classes: Sequence[str] = (), heads: int = 8, device: str = "cpu"):
        self.path, model = Path(path), load_published(path, heads=heads)
        state = model.state_dict()
        self.dim, outputs = state["projection.linear.weight"].shape[1], len(state["classifier.bias"])
        self.classes = tuple(classes) or tuple(f"class_{index}" for index in range(outputs))
        if len(self.classes) != outputs or len(set(self.classes)) != outputs:
            raise ConfigError(
                f"{path} tells {outputs} classes apart, and needs as many names",
                found=", ".join(self.classes),
                fix="--classes with a name for each, in the order of training, or leave it out",
            )
        self.model = model.to(device)
        with self.path.open("rb") as file:
            self.digest = f"{hashlib.file_digest(file, 'sha256').hexdigest()} {heads} {' '.join(self.classes)}"
        self.knows = self.digest

    def predict(self, bag: Bag, *, slide_file: Path | None = None) -> EnsemblePrediction:
        """Predict one slide from its features (tiles, dim); `slide_file` is not looked at."""
        found = predict(self.model, [bag])[0]
        probabilities = found.probabilities.astype(np.float64)
        return EnsemblePrediction(
            slide=bag.slide,
            probabilities=probabilities,
            attention=found.attention.astype(np.float64),
            by_member=probabilities[None],
            members=((0, 0),),
            distance=None,
            seen_as=None,
            warnings=(NOT_A_RUN,),
        )

    def evidence(self, bag: Bag, *, slide_file: Path | None = None) -> dict[str, np.ndarray]:
        """What each tile says for each class, as of an `Ensemble`; `slide_file` is not looked at."""
        return dict(zip(self.classes, evidence(self.model, bag).array.T, strict=True))

    def require_fit(self, store: FeatureStore) -> None:
        """Raise a `FeatureError` where features have another dimension than those of the training."""
        if store.dim != self.dim:
            raise FeatureError(
                f"{store.path} does not fit the weights in {self.path}",
                found=f"features of dimension {store.dim}, the weights take {self.dim}",
                fix="give features of the encoder that the weights were trained on",
            )


def _standardized(members: Sequence[Member]) -> list[Standardized]:
    return [member.model for member in members if isinstance(member.model, Standardized)]
