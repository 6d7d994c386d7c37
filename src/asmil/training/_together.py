"""Many models of one recipe trained in one pass over the bags: parameters stacked, each with bags of its own."""

import copy
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional as F

from asmil.attention import AttentionStabilizer
from asmil.attention.normalizers import alignment
from asmil.attention.stabilizer import scale_below
from asmil.bags import Bag, BagBatch
from asmil.models import MILOutput
from asmil.training._stack import Named, Rates, Stack, rows_of
from asmil.training._steps import Step
from asmil.training.batches import bag_batches, is_elsewhere, lists_of, packed
from asmil.training.optim import TrainSettings, autocast


class Together:
    """Models of equal shape, trained on joint batches; a `Step` says which of its bags each of them learns from.

    Losses, the alignment, the gradient's norm and the optimiser are per model, so a model's training is what it would
    be alone on its own bags of each batch (within rounding, and but for the draws of dropout); the other bags change
    nothing. `anchors` are the anchors' modules, one per model, where there is a stabiliser.
    """

    def __init__(
        self,
        models: Sequence[nn.Module],
        bags: Sequence[Bag],
        *,
        settings: TrainSettings,
        stabilizer: dict[str, Any] | None = None,
        anchors: Sequence[nn.Module] = (),
    ):
        self.bags, self.settings = bags, settings
        self.template = copy.deepcopy(models[0])
        self.stack = Stack(models, settings=settings)
        self.device = self.stack.weights.device
        # The stabiliser of the template has checked the options and knows beta and momentum of the moment.
        self.schedule = AttentionStabilizer(self.template, **stabilizer) if stabilizer is not None else None
        if self.schedule:
            self.schedule.detach()  # forwards are aligned here: nothing has to be recorded
        self.options = stabilizer or {}
        self.anchors = rows_of(anchors) if self.schedule else None
        self.begun = False

    def train_epoch(
        self, epoch: int, steps: Sequence[Step], *, rates: Float[np.ndarray, "steps models"]
    ) -> dict[str, Float[np.ndarray, "steps models"]]:
        """The joint batches of an epoch, with a learning rate for each step and model.

        Returns:
            Of each step and model `task`, `extra`, `kl` and `align`, the weighted losses; `scale`, what
            max_gradient_ratio made of beta, and `ratio`, of the gradients (of the first step, or of all with a limit).
        """
        self.template.train()
        if self.schedule:
            self.schedule.set_epoch(epoch)
            if self.schedule.beta > 0 and not self.begun:
                self._begin()
        active = np.array([step.sizes > 0 for step in steps], dtype=float)
        factors = self.stack.rates(rates, active)
        shares = torch.from_numpy(np.concatenate([step.share for step in steps], 1)).to(self.device)
        shares_of_steps = shares.split([len(step.bags) for step in steps], dim=1)
        parts = [step.bags for step in steps]
        batches = bag_batches(self.bags, parts, settings=self.settings, epoch=epoch, device=self.device)
        rows: list[dict[str, Tensor]] = []
        for batch, share, factor in zip(batches, shares_of_steps, factors, strict=True):
            rows.append(self._step(batch, share, rates=factor, measure=not rows))
        return {name: torch.stack([row[name] for row in rows]).cpu().numpy() for name in rows[0]}

    @torch.no_grad()
    def predict(
        self, models: Sequence[int], bags: Sequence[Bag], *, tiles_at_once: int = 50_000
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """These models on these bags: logits (models, bags, classes), attention (models, tiles), embeddings.

        `tiles_at_once` of all models together are in memory.
        """
        self.template.eval()
        chosen = list(models)
        whole = chosen == list(range(len(self.stack)))
        states = [
            stacked if whole else {name: value[chosen] for name, value in stacked.items()}
            for stacked in (self.stack.parameters, self.stack.buffers)
        ]

        def outputs(params: Named, buffers: Named, batch: BagBatch) -> tuple[Tensor, ...]:
            output = functional_call(self.template, (params, buffers), (batch,))
            return output.logits.float(), output.attention.float(), output.embedding.float()

        lists = lists_of(bags, most_tiles=tiles_at_once // len(chosen))
        batches = packed(lists, device=self.device, ahead=is_elsewhere(bags, self.device))
        parts = [vmap(outputs, in_dims=(0, 0, None))(states[0], states[1], batch) for batch in batches]
        logits, attention, embedding = (torch.cat(part, 1).cpu().numpy() for part in zip(*parts, strict=True))
        return logits, attention, embedding

    def keep(self, rows: list[int]) -> None:
        """Go on with these models only."""
        self.stack.keep(rows)
        self.anchors = None if self.anchors is None else self.anchors[rows]

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed training needs, of the models that are left."""
        return {"stack": self.stack.state_dict(), "anchors": self.anchors, "begun": self.begun}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        self.stack.load_state_dict(state["stack"])
        if self.anchors is not None:
            self.anchors.copy_(state["anchors"])
        self.begun = state["begun"]

    def _begin(self) -> None:
        if self.anchors is not None and self.options.get("init", "copy") == "copy":
            self.anchors.copy_(self.stack.weights)
        self.begun = True

    def _step(self, batch: BagBatch, share: Float[Tensor, "models bags"], *, rates: Rates, measure: bool) -> Named:
        beta = self.schedule.beta if self.schedule else 0.0

        def losses(params: Named, buffers: Named, anchor: Named, share: Tensor) -> tuple[Tensor, ...]:
            output = functional_call(self.template, (params, buffers), (batch,))
            task = (F.cross_entropy(output.logits.float(), batch.labels, reduction="none") * share).sum()  # type: ignore[arg-type]
            extra = sum(((loss * share).sum() for loss in output.losses.values()), torch.zeros_like(task))
            if not beta or output.scores is None:
                return task, extra, torch.zeros_like(task), task
            kl = self._divergence(output, (anchor, buffers), batch=batch)
            return task, extra, (kl * share).sum(), output.scores

        params, buffers = self.stack.parameters, self.stack.buffers
        anchor = params if self.anchors is None else self.stack.named(self.anchors)
        with autocast(self.device, self.settings):
            task, extra, kl, scores = vmap(losses, randomness="different")(params, buffers, anchor, share)
        align, scale, ratio = beta * kl, torch.ones_like(kl), torch.zeros_like(kl)
        limit = self.options.get("max_gradient_ratio")
        if beta and (measure or limit is not None):
            ratio = _gradient_norms(align, scores) / _gradient_norms(task + extra, scores).clamp(min=1e-30)
            if limit is not None:
                scale = scale_below(ratio, limit)
                align, ratio = align * scale, ratio * scale
        total = (task + extra + align).sum()
        self.stack.step(torch.autograd.grad(total, list(params.values()), allow_unused=True), rates)
        if self.schedule and self.anchors is not None:
            momentum = self.schedule.momentum
            self.schedule.update()
            if self.begun and momentum < 1:
                self.stack.follow(self.anchors, momentum=momentum, rates=rates)
        row = {"task": task, "extra": extra, "kl": kl, "align": align, "scale": scale, "ratio": ratio}
        return {name: value.detach() for name, value in row.items()}

    def _divergence(self, output: MILOutput, anchor: tuple[Named, Named], *, batch: BagBatch) -> Float[Tensor, " bags"]:
        """KL(anchor || online) of every bag, mean over rows."""
        with torch.no_grad():
            self.template.eval()
            target = functional_call(_Scores(self.template), _prefixed(*anchor), (batch,))
            self.template.train()
        order, offsets = output.segments(batch.offsets)
        normalizers = self.options.get("anchor_normalizer", "nsf"), self.options.get("online_normalizer", "softmax")
        how = {name: self.options[name] for name in ("temperature", "reduction") if name in self.options}
        online = cast(Tensor, output.scores)[order]
        per_row = alignment(target[order], online, normalizers=normalizers, offsets=offsets, each=True, **how)
        if output.score_offsets is None:
            return per_row.mean(1)
        bag = torch.searchsorted(batch.offsets, offsets[:-1], right=True) - 1
        segments = torch.bincount(bag, minlength=len(batch))
        owner = F.one_hot(bag, len(batch)).T / segments[:, None]
        return owner.to(per_row.dtype) @ per_row.mean(1)


class _Scores(nn.Module):
    """The attention scores of a model alone: its `attention_scores` where it has them."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, batch: BagBatch) -> Tensor:
        part = getattr(self.model, "attention_scores", None)
        return part(batch) if part else self.model(batch).scores


def _prefixed(params: Named, buffers: Named) -> tuple[Named, Named]:
    return {f"model.{n}": p for n, p in params.items()}, {f"model.{n}": b for n, b in buffers.items()}


def _gradient_norms(losses: Float[Tensor, " models"], scores: Tensor) -> Float[Tensor, " models"]:
    """Norms with respect to the scores; nan where the loss does not pass through this tensor of scores."""
    (gradient,) = torch.autograd.grad(losses.sum(), scores, retain_graph=True, allow_unused=True)
    return torch.full_like(losses, torch.nan) if gradient is None else gradient.flatten(1).norm(dim=1)
