"""Models trained on the same batches: one, or up to `PLACES` seeds of a fold in one vmapped pass.

A pass costs the many small operations of a step about once. It always has the same number of places, an empty one
computes for nobody, and a model has the same place in any company: what is computed for it has the same shapes at the
same addresses, and so the same bits. (In passes of other widths sums are added up in another order, and training
enlarges a last bit within some hundred steps to another model: docs/log.md.) The sizes of bags and model alone decide
between a pass and a stack for each.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import vmap
from torch.nn import functional as F

from asmil import draws
from asmil.attention import AttentionStabilizer
from asmil.bags import BagBatch
from asmil.errors import ConfigError
from asmil.tasks import Task
from asmil.training.batches import ON_CPU, parts_of
from asmil.training.optim import RowAdamW, Rows, TrainSettings, autocast, trained_names

SMALL = {"cpu": 5e7, "cuda": 5e10}
"""Tiles of a step times weights of a model up to which one pass for all is faster. On a CPU such a step's products take
some ten milliseconds, as long as the small operations around them. CUDA: a guess, never measured."""

PLACES = 3
"""Models of a pass: the seeds of a run by default."""

Losses = dict[str, Float[Tensor, " models"]]
Key = tuple[int | str, ...]
Named = dict[str, Tensor]


class Trainee(nn.Module):
    """What one model computes on a batch in training; its anchor is part of it."""

    def __init__(self, model: nn.Module, stabilizer: AttentionStabilizer | None):
        super().__init__()
        self.model, self.stabilizer = model, stabilizer
        self.anchor = stabilizer.anchor.module if stabilizer else None

    def forward(self, batch: BagBatch, aligned: bool) -> tuple[Tensor, Tensor, Tensor, Tensor, list[Tensor]]:
        """Logits (bags, outputs), the model's own losses, KL(anchor || online), its gate, the scores of the latter."""
        output = self.model(batch)
        logits = output.logits.float()
        nothing = logits.new_zeros(())
        extra = sum((each.mean() for each in output.losses.values()), nothing)
        if self.stabilizer is None or not aligned:
            return logits, extra, nothing, nothing, []
        return logits, extra, *self.stabilizer.divergence()


class Slots:
    """Where a module keeps its parameters and buffers, for others to stand in for them during a call.

    What `torch.func.functional_call` does at each call (finding the places takes longer than a small model) is done
    here once.
    """

    def __init__(self, module: nn.Module):
        self._places = {
            f"{prefix}.{name}".removeprefix("."): (kept, name)
            for prefix, part in module.named_modules()
            for kept in (part._parameters, part._buffers)
            for name, tensor in kept.items()
            if tensor is not None
        }

    @contextmanager
    def filled(self, values: dict[str, Tensor]) -> Iterator[None]:
        """Within, the module has these tensors, by name."""
        places = [self._places[name] for name in values]
        before = [kept[name] for kept, name in places]
        try:
            for (kept, name), value in zip(places, values.values(), strict=True):
                kept[name] = value
            yield
        finally:
            for (kept, name), value in zip(places, before, strict=True):
                kept[name] = value


class Stack:
    """Models in training, each with its stabiliser (or None) and the key of its draws.

    One model, or several in one pass, each at its own of the `places`. Until `release` the models' parameters are views
    into the stack.
    """

    def __init__(
        self,
        models: Sequence[nn.Module],
        stabilizers: Sequence[AttentionStabilizer | None],
        *,
        keys: Sequence[Key],
        settings: TrainSettings,
        task: Task | None = None,
        places: Sequence[int] = (),
    ):
        if settings.compile and any(own is not None and own.max_gradient_ratio is not None for own in stabilizers):
            what = "a compiled model does not tell the gradients of its scores, by which beta would be tuned"
            raise ConfigError(what, found="compile and max_gradient_ratio", fix="leave out one of the two")
        self.models, self.stabilizers, self.keys = list(models), list(stabilizers), list(keys)
        self.settings, self.task, self.places = settings, task, list(places)
        self.device = next(models[0].parameters()).device
        self.trainees = [Trainee(*pair) for pair in zip(models, stabilizers, strict=True)]
        names, border = trained_names(models[0])
        count = PLACES if places else 1
        self.rows = Rows(models, names, taken=places, count=count)
        self.optimizer = RowAdamW(self.rows, border, settings)
        anchors = [trainee.anchor for trainee in self.trainees if trainee.anchor is not None]
        self.anchors = None
        if anchors:
            of_anchor = [name for name, _ in anchors[0].named_parameters()]
            self.anchors = Rows(anchors, of_anchor, taken=places, count=count)
        self._drawn = 1024
        full = not places or self.rows.taken == list(range(PLACES))
        self._taken = None if full else torch.tensor(self.rows.taken, device=self.device)

    def passes(self, batch: BagBatch, *, tiles_per_step: float) -> bool:
        """Whether a pass for all places pays for batches of this size, and the models can.

        They cannot where they have hooks around their steps, differ in what is not trained, or do what torch cannot do
        for many models at once: sizes that depend on values. Modules of other people are not tried: what one keeps of a
        batch, or draws, is its own model's, and a pass leaves it what is of no single one.
        """
        hooks = any(hasattr(model, hook) for model in self.models for hook in ("prepare", "after_step"))
        work = tiles_per_step * self.rows.matrix.shape[1]
        known = self._ours and self._alike and not hooks and not self.settings.compile
        if not known or work > SMALL.get(self.device.type, SMALL["cpu"]):
            return False
        try:
            with torch.no_grad():
                self._in_one_pass(batch, [0] * len(self.models), aligned=False)
        except (RuntimeError, NotImplementedError):
            return False
        return True

    def step(self, batch: BagBatch, rates: Sequence[float], *, at: tuple[int, int], measure: bool) -> Losses:
        """A step of every model at `at`, its epoch and step.

        Returns:
            `task`, `extra`, `kl` and `align`, the losses; `gate`, what the alignment counts by; `scale`, what
            max_gradient_ratio made of beta; `ratio`, the norm of the alignment's gradient over the task's with respect
            to the scores, where it is to `measure`.
            The host waits for no device.
        """
        losses, gradient, without = self._losses(batch, [draws.stream(*key, *at) for key in self.keys], measure=measure)
        self.optimizer.step(self._own(gradient), rates, without=without)
        for stabilizer in self.stabilizers:
            if stabilizer:
                stabilizer.update()
        return {name: self._own(values) for name, values in losses.items()}

    def _own(self, values: Tensor) -> Tensor:
        """Of what was computed for every row, what the models are, in their order."""
        return values if self._taken is None else values.index_select(0, self._taken)

    def _losses(self, batch: BagBatch, seeds: Sequence[int], *, measure: bool) -> tuple[Losses, Tensor, list[str]]:
        """Of every row: losses, gradient (rows, weights), and the parameters without one. All are means over bags, so
        a large batch is computed in parts."""
        if not self.places:
            torch.manual_seed(seeds[0])
        first, *others = self._parts(batch)
        losses, gradient, without = self._of_part(first, seeds, share=len(first) / len(batch), measure=measure)
        for part in others:
            own, more, missing = self._of_part(part, seeds, share=len(part) / len(batch), measure=measure)
            losses = {name: value + own[name] for name, value in losses.items()}
            gradient, without = gradient.add_(more), [name for name in without if name in missing]
        pull, task = (losses.pop(name).sqrt() for name in ("pull", "against"))
        losses["ratio"] = losses["scale"] * (pull / task.clamp(min=1e-30))
        return losses, gradient, without

    def _parts(self, batch: BagBatch) -> list[BagBatch]:
        """Parts that a CPU's caches hold, where nothing compares the bags of a batch with one another."""
        stabilizer = self.stabilizers[0]
        limited = stabilizer is not None and stabilizer.max_gradient_ratio is not None
        compared = limited or self._normalizes or (self.task is not None and self.task.smallest_batch > 1)
        if self.places or compared or self.device.type != "cpu":
            return [batch]
        return parts_of(batch, most_tiles=ON_CPU)

    def _of_part(
        self, batch: BagBatch, seeds: Sequence[int], *, share: float, measure: bool
    ) -> tuple[Losses, Tensor, list[str]]:
        """What a part of a batch, with this share of its bags, adds to its losses and gradient. `pull` and `against`:
        the squared norms of the gradients, with respect to the scores, of alignment and task."""
        stabilizer = self.stabilizers[0]
        beta = stabilizer.beta if stabilizer else 0.0
        with autocast(self.device, self.settings):
            if self.places:
                logits, extra, kl, gate, scores = self._in_one_pass(batch, seeds, aligned=beta > 0)
                weights = list(self._leaves.values())
            else:
                *alone, scores = self.trainees[0](batch, beta > 0)
                logits, extra, kl, gate = (part.unsqueeze(0) for part in alone)
                own = dict(self.models[0].named_parameters())
                weights = [own[name] for name in self.rows.names]
            task = self._task_loss(logits, batch)
        task, extra, kl, gate = (share * value for value in (task, extra, kl, gate))
        align, scale, pull, against = beta * kl, torch.ones_like(kl), torch.zeros_like(kl), torch.ones_like(kl)
        if self.settings.compile:  # whether the loss passes through the scores then goes by the version of Python
            pull = torch.full_like(kl, torch.nan)
        elif stabilizer and beta and (measure or stabilizer.max_gradient_ratio is not None):
            pull, against = (_squared_norms(loss, scores) for loss in (align, task + extra))
            scale = stabilizer.tuned(pull.sqrt() / against.sqrt().clamp(min=1e-30))
            align = align * scale
        found = torch.autograd.grad((task + extra + align).sum(), weights, allow_unused=True)
        whole = [torch.zeros_like(w) if g is None else g for g, w in zip(found, weights, strict=True)]
        gradient = torch.cat([part.reshape(len(kl), -1) for part in whole], 1)
        without = [name for name, part in zip(self.rows.names, found, strict=True) if part is None]
        losses = {"task": task, "extra": extra, "kl": kl, "gate": gate, "align": align, "scale": share * scale}
        losses |= {"pull": pull, "against": against}
        return {name: value.detach() for name, value in losses.items()}, gradient, without

    def _task_loss(self, logits: Float[Tensor, "models bags outputs"], batch: BagBatch) -> Float[Tensor, " models"]:
        if self.task is not None:
            targets = cast(Tensor, batch.targets)
            return torch.stack([self.task.loss(own, targets).mean() for own in logits])
        labels = cast(Tensor, batch.labels).expand(len(logits), -1)
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view(labels.shape).mean(1)

    def _in_one_pass(
        self, batch: BagBatch, seeds: Sequence[int], *, aligned: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, list[Tensor]]:
        """What the trainees compute, each tensor with a first axis of places."""
        at = dict(zip(self.places, seeds, strict=True))
        trainee, slots = self.trainees[0], self._slots
        anchored = {} if self.anchors is None else {f"anchor.{n}": w for n, w in self.anchors.named.items()}

        def forward(bank: Tensor, weights: Named, anchor: Named) -> tuple[Tensor, Tensor, Tensor, Tensor, list[Tensor]]:
            with draws.from_bank(bank), slots.filled({**weights, **anchor}):
                return trainee(batch, aligned)

        while True:
            try:
                banks = draws.fill_banks([at.get(place, 0) for place in range(PLACES)], self._drawn, self.device)
                return vmap(forward)(banks, self._leaves, anchored)
            except draws.BankIsEmpty:
                self._drawn *= 2

    @torch.no_grad()
    def outputs(self, batch: BagBatch) -> tuple[Tensor, Tensor, Tensor]:
        """In evaluation: logits (models, bags, outputs), attention (models, tiles), embedding (models, bags, dim)."""
        for model in self.models:
            model.eval()
        if not self.places:
            output = self.models[0](batch)
            return output.logits.float()[None], output.attention.float()[None], output.embedding.float()[None]

        def forward(weights: Named) -> tuple[Tensor, Tensor, Tensor]:
            with self._slots.filled(weights):
                output = self.models[0](batch)
            return output.logits.float(), output.attention.float(), output.embedding.float()

        logits, attention, embedding = vmap(forward)(self._leaves)
        return self._own(logits), self._own(attention), self._own(embedding)

    @cached_property
    def _normalizes(self) -> bool:
        """Whether a part of the model takes a mean over all bags of a batch."""
        return any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in self.models[0].modules())

    @cached_property
    def _slots(self) -> "Slots":
        return Slots(self.trainees[0])

    @cached_property
    def _leaves(self) -> dict[str, Tensor]:
        """The models' weights by name within a trainee, (models, ...), as what gradients are taken of."""
        return {f"model.{name}": rows.detach().requires_grad_() for name, rows in self.rows.named.items()}

    def _fixed(self, trainee: Trainee) -> Named:
        """What no training changes, by name: in a pass the first one's stands for all (the statistics of a fold)."""
        moving = {f"model.{name}" for name in self.rows.names}
        moving |= set() if self.anchors is None else {f"anchor.{name}" for name in self.anchors.names}
        named = dict([*trainee.named_parameters(), *trainee.named_buffers()])
        return {name: value for name, value in named.items() if name not in moving}

    @property
    def _ours(self) -> bool:
        """Whether every module is torch's or asmil's, which keep nothing of their bags."""
        return all(type(part).__module__.split(".")[0] in ("asmil", "torch") for part in self.models[0].modules())

    @property
    def _alike(self) -> bool:
        first, *others = map(self._fixed, self.trainees)
        return all(torch.equal(value, other[name]) for other in others for name, value in first.items())

    def release(self) -> None:
        """Give the models, and their anchors, weights of their own again."""
        self.rows.release()
        if self.anchors is not None:
            self.anchors.release()


def _squared_norms(losses: Float[Tensor, " models"], scores: Sequence[Tensor]) -> Float[Tensor, " models"]:
    """Squared norms of the gradients with respect to the scores; nan where a loss does not pass through them."""
    found = torch.autograd.grad(losses.sum(), list(scores), retain_graph=True, allow_unused=True)
    if not found or any(part is None for part in found):
        return torch.full_like(losses, torch.nan)
    return torch.stack([part.float().reshape(len(losses), -1).square().sum(1) for part in found]).sum(0)
