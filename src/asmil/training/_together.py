"""Many models of one recipe trained in one pass over the bags: parameters stacked, each with bags of its own."""

import copy
from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional as F

from asmil.attention import AttentionStabilizer
from asmil.attention.normalizers import kl_divergence, log_weights
from asmil.attention.stabilizer import scale_below
from asmil.bags import Bag, BagBatch
from asmil.models import MILOutput
from asmil.training.batches import bag_batches, bag_order
from asmil.training.optim import TrainSettings, decayed_names, learning_rate

Stack = dict[str, Tensor]


class Together:
    """Models of equal shape, trained on the same batches; `trains` (models, bags) says who learns from which bag.

    A batch holds bags of the whole cohort, as many as give each model about `batch_size` of its own. Losses, the
    alignment and the gradient's norm are per model, so a model's training is what it would be alone on the same
    batches (within rounding); the bags it does not learn from change nothing. `anchors` are given where they do not
    start as copies of the models.
    """

    def __init__(
        self,
        models: Sequence[nn.Module],
        bags: Sequence[Bag],
        trains: Bool[np.ndarray, "models bags"],
        *,
        settings: TrainSettings,
        stabilizer: dict[str, Any] | None,
        anchors: Sequence[nn.Module] | None = None,
    ):
        self.bags, self.settings = bags, settings
        self.template = copy.deepcopy(models[0]).train()
        self.params, self.buffers = stack_module_state(list(models))
        self.device = next(iter(self.params.values())).device
        self.trains = torch.from_numpy(trains.astype(np.float32)).to(self.device)
        self.batch_size = max(1, round(settings.batch_size / trains.mean()))
        decayed = decayed_names(self.template)
        groups = [
            {"params": [p for n, p in self.params.items() if n in decayed], "weight_decay": settings.weight_decay},
            {"params": [p for n, p in self.params.items() if n not in decayed], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW([g for g in groups if g["params"]], lr=settings.learning_rate, fused=True)
        # The stabiliser of the template has checked the options and knows beta and momentum of the moment.
        self.schedule = AttentionStabilizer(self.template, **stabilizer) if stabilizer is not None else None
        if self.schedule:
            self.schedule.detach()  # forwards are aligned here: nothing has to be recorded
        self.options = stabilizer or {}
        self.anchor = None if anchors is None else _detached(stack_module_state(list(anchors))[0])

    def train_epoch(self, epoch: int) -> dict[str, Float[np.ndarray, " models"]]:
        """One pass over all bags in a fresh order; the mean losses of every model."""
        self.template.train()
        if self.schedule:
            self.schedule.set_epoch(epoch)
            if self.schedule.beta > 0 and self.anchor is None:
                self.anchor = _detached(self.params)
        order = bag_order(self.bags, settings=self.settings, epoch=epoch)
        steps = [order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size)]
        batches = bag_batches(self.bags, steps, settings=self.settings, epoch=epoch, device=self.device)
        totals: dict[str, list[Tensor]] = {"train_loss": [], "kl": [], "gradient_ratio": []}
        for step, (index, batch) in enumerate(zip(steps, batches, strict=True)):
            rate = learning_rate(self.settings, epoch + step / len(steps))
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            losses = self._step(batch, self.trains[:, index], measure=step == 0)
            for name, value in losses.items():
                totals[name].append(value)
        means = {name: torch.stack(values).mean(0).cpu().numpy() for name, values in totals.items() if values}
        beta = self.schedule.beta if self.schedule else np.nan
        return means | {"lr": np.full(len(self.trains), rate), "beta": np.full(len(self.trains), beta)}

    @torch.no_grad()
    def evaluate(
        self, *, tiles_at_once: int = 50_000
    ) -> tuple[Float[np.ndarray, "models bags classes"], Float[np.ndarray, "models tiles"]]:
        """Logits and attention of every model on every bag; `tiles_at_once` of all models together are in memory."""
        self.template.eval()
        parts = [
            vmap(lambda p, b, batch=batch: self._outputs(p, b, batch))(self.params, self.buffers)
            for batch in _batches(self.bags, tiles_at_once // len(self.trains))
        ]
        logits, attention = zip(*parts, strict=True)
        return torch.cat(logits, 1).cpu().numpy(), torch.cat(attention, 1).cpu().numpy()

    def _outputs(self, params: Stack, buffers: Stack, batch: BagBatch) -> tuple[Tensor, Tensor]:
        output = functional_call(self.template, (params, buffers), (batch.to(self.device),))
        return output.logits.float(), output.attention.float()

    def _step(self, batch: BagBatch, trains: Float[Tensor, "models bags"], *, measure: bool) -> dict[str, Tensor]:
        beta = self.schedule.beta if self.schedule else 0.0
        share = trains / trains.sum(1, keepdim=True).clamp(min=1)

        def losses(params: Stack, buffers: Stack, anchor: Stack, share: Tensor) -> tuple[Tensor, ...]:
            output = functional_call(self.template, (params, buffers), (batch,))
            task = (F.cross_entropy(output.logits.float(), batch.labels, reduction="none") * share).sum()
            extra = sum(((loss * share).sum() for loss in output.losses.values()), torch.zeros_like(task))
            if not beta or output.scores is None:
                return task, extra, torch.zeros_like(task), task
            kl = self._divergence(output, (anchor, buffers), batch=batch)
            return task, extra, (kl * share).sum(), output.scores

        anchor = self.params if self.anchor is None else self.anchor
        task, extra, kl, scores = vmap(losses, randomness="different")(self.params, self.buffers, anchor, share)
        row, align = {"train_loss": task.detach(), "kl": kl.detach()}, beta * kl
        limit = self.options.get("max_gradient_ratio")
        if beta and (measure or limit is not None):
            ratio = _gradient_norms(align, scores) / _gradient_norms(task + extra, scores).clamp(min=1e-30)
            if limit is not None:
                align = align * scale_below(ratio, limit)
                ratio = ratio.clamp(max=limit)
            row["gradient_ratio"] = ratio
        self.optimizer.zero_grad(set_to_none=True)
        (task + extra + align).sum().backward()
        _clip_each(list(self.params.values()), self.settings.clip_norm)
        self.optimizer.step()
        if self.schedule:
            self._follow(self.schedule)
        return row

    def _divergence(self, output: MILOutput, anchor: tuple[Stack, Stack], *, batch: BagBatch) -> Float[Tensor, " bags"]:
        """KL(anchor || online) of every bag, mean over rows."""
        with torch.no_grad():
            self.template.eval()
            target = functional_call(_Scores(self.template), _named(*anchor), (batch,))
            self.template.train()
        order, offsets = output.segments(batch.offsets)
        normalizers = self.options.get("anchor_normalizer", "nsf"), self.options.get("online_normalizer", "softmax")
        temperature = self.options.get("temperature", 1.0)
        log_target = log_weights(normalizers[0], target[order], dim=0, offsets=offsets, temperature=temperature)
        log_online = log_weights(normalizers[1], cast(Tensor, output.scores)[order], dim=0, offsets=offsets)
        reduction = self.options.get("reduction", "sum")
        per_row = kl_divergence(log_target, log_online, dim=0, offsets=offsets, reduction=reduction, each=True)
        if output.score_offsets is None:
            return per_row.mean(1)
        bag = torch.searchsorted(batch.offsets, offsets[:-1], right=True) - 1
        segments = torch.bincount(bag, minlength=len(batch))
        owner = F.one_hot(bag, len(batch)).T / segments[:, None]
        return owner.to(per_row.dtype) @ per_row.mean(1)

    @torch.no_grad()
    def _follow(self, schedule: AttentionStabilizer) -> None:
        """Move the anchors after the optimiser's step."""
        momentum = schedule.momentum
        schedule.update()
        if self.anchor is not None and momentum < 1:
            torch._foreach_lerp_(list(self.anchor.values()), list(self.params.values()), 1 - momentum)


class _Scores(nn.Module):
    """The attention scores of a model alone: its `attention_scores` where it has them."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, batch: BagBatch) -> Tensor:
        part = getattr(self.model, "attention_scores", None)
        return part(batch) if part else self.model(batch).scores


def _named(params: Stack, buffers: Stack) -> tuple[Stack, Stack]:
    return {f"model.{n}": p for n, p in params.items()}, {f"model.{n}": b for n, b in buffers.items()}


def _detached(stack: Stack) -> Stack:
    return {name: value.detach().clone() for name, value in stack.items()}


def _gradient_norms(losses: Float[Tensor, " models"], scores: Tensor) -> Float[Tensor, " models"]:
    """Norms with respect to the scores; nan where the loss does not pass through this tensor of scores."""
    (gradient,) = torch.autograd.grad(losses.sum(), scores, retain_graph=True, allow_unused=True)
    return torch.full_like(losses, torch.nan) if gradient is None else _norms(gradient)


def _norms(stacked: Float[Tensor, "models *rest"]) -> Float[Tensor, " models"]:
    return stacked.flatten(1).norm(dim=1)


@torch.no_grad()
def _clip_each(params: list[Tensor], clip_norm: float) -> None:
    """Clip the norm of every model's own gradient."""
    gradients = [p.grad for p in params if p.grad is not None]
    norm = torch.stack([_norms(g) for g in gradients]).norm(dim=0)
    scale = (clip_norm / (norm + 1e-6)).clamp(max=1)
    for gradient in gradients:
        gradient.mul_(scale.view(-1, *[1] * (gradient.dim() - 1)))


def _batches(bags: Sequence[Bag], tiles_at_once: int) -> Iterator[BagBatch]:
    """Bags in order, packed up to a number of tiles."""
    chosen: list[Bag] = []
    for bag in bags:
        if chosen and sum(map(len, chosen)) + len(bag) > tiles_at_once:
            yield BagBatch.from_bags(chosen)
            chosen = []
        chosen.append(bag)
    yield BagBatch.from_bags(chosen)
