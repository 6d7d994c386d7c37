"""The stabilizer: attaches an anchor branch to any attention model and gives the loss that aligns it.

    stabilizer = AttentionStabilizer(model, scores="attention_net.3.attention_c")
    loss = criterion(model(bag)[0], label) + stabilizer.loss()
    loss.backward(); optimizer.step(); stabilizer.update()

The model's outputs and `state_dict` stay as they are; at inference nothing happens. Source: ASMIL, arXiv
2603.06658.
"""

import math
import warnings
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor, nn

from asmil.attention.anchor import Anchor
from asmil.attention.divergence import alignment, require_reduction, unevenness
from asmil.attention.foreign import Forward, Recorder, Scores, checked, find_part
from asmil.attention.layout import Dense, Layout, Packed
from asmil.attention.normalizers import FULL_SUPPORT, NORMALIZERS
from asmil.errors import AttentionError

Schedule = float | Callable[[int], float]


def _require_numbers(schedules: dict[str, object], positive: dict[str, object], counts: dict[str, object]) -> None:
    """Raise an `AttentionError` where an option is no number of its kind: beta 'x' or -1, half an epoch."""
    for name, value in (schedules | positive | counts).items():
        if (callable(value) and name in schedules) or (value is None and name == "max_gradient_ratio"):
            continue
        least = "above 0" if name in positive else "of at least 0"
        whole = "a whole number" if name in counts else "a number"
        known = isinstance(value, Integral if name in counts else Real) and not isinstance(value, bool)
        if not known or not math.isfinite(value) or not (value > 0 if name in positive else value >= 0):  # type: ignore[arg-type,operator]
            raise AttentionError(f"{name} must be {whole} {least}", found=repr(value))


def _require_kinds(reduction: object, *, tile_dim: object, mask: object, **switches: object) -> None:
    require_reduction(reduction)
    if tile_dim is not None and (not isinstance(tile_dim, Integral) or isinstance(tile_dim, bool)):
        raise AttentionError("tile_dim must be the number of an axis", found=repr(tile_dim))
    if not (mask is None or callable(mask) or isinstance(mask, Tensor)):
        raise AttentionError("a mask is a tensor or a function", found=repr(mask))
    for name, value in switches.items():
        if not isinstance(value, bool):
            raise AttentionError(f"{name} must be true or false", found=repr(value))


class AttentionStabilizer:
    """Aligns a model's attention with that of its anchor: beta * KL(NSF(z') || softmax(z)).

    What to align, `scores`: "auto" reads `output.scores` (tiles, rows), packed by the `layout` (or `offsets`) of the
    model's first input, and lets the anchor run only `attention_scores(...)` where the model has that method; a dotted
    module name takes that submodule's output; a function takes the scores from the model's output. Where the
    output has `score_order` and `score_layout`, both branches are put in that order and packed by these. Scores
    are before normalisation, or `normalized=True` says that they are weights already (then z = log weights).

    `tile_dim` is the axis of tiles, all other axes are rows (heads, classes, bags ...). Where it is None,
    inputs with a `layout` or `offsets` mean packed (tiles, ...); else it is -2 for a module name (a layer's (...,
    tiles, rows)) and -1 for a function. `mask` marks real tiles (True): a tensor, or a function of the model's
    inputs, that broadcasts to the scores.

    Momentum and beta are numbers, or functions of the number of updates so far. Before `start_epoch` the loss
    is exactly 0; then the anchor starts equal to the model of that moment (unless `init="independent"`), and
    beta rises linearly over `warmup_epochs`. `temperature` divides the anchor's scores only. With
    `max_gradient_ratio` beta tunes itself downwards: in every step it is made so small that the gradient of the
    alignment is at most that many times the task's, in norm, with respect to the scores (where the task's loss passes
    through the recorded tensor of scores; else beta stays). `gated` counts each row by how uneven the anchor's own
    attention is (`unevenness`): without it, as in the paper, the anchor pulls towards evenness from the first step and
    keeps attention to small lesions from forming (docs/log.md).

    Raises:
        AttentionError: no such submodule, an unknown option, or an online normalizer that gives exact zeros,
            which would make the divergence infinite.
        UnknownPartError: no normalizer of that name.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        scores: Scores = "auto",
        beta: Schedule = 0.1,
        momentum: Schedule = 0.999,
        anchor: str = "ema",
        init: str = "copy",
        anchor_normalizer: str = "nsf",
        online_normalizer: str = "softmax",
        temperature: float = 1.0,
        reduction: str = "sum",
        tile_dim: int | None = None,
        mask: Tensor | Callable[..., Tensor] | None = None,
        normalized: bool = False,
        start_epoch: int = 0,
        warmup_epochs: int = 0,
        max_gradient_ratio: float | None = None,
        gated: bool = True,
    ):
        _require_numbers(
            {"beta": beta, "momentum": momentum},
            {"temperature": temperature, "max_gradient_ratio": max_gradient_ratio},
            {"start_epoch": start_epoch, "warmup_epochs": warmup_epochs},
        )
        _require_kinds(reduction, tile_dim=tile_dim, mask=mask, normalized=normalized, gated=gated)
        if anchor not in ("ema", "frozen"):
            raise AttentionError("unknown kind of anchor", found=repr(anchor), fix='use "ema" or "frozen"')
        if online_normalizer not in FULL_SUPPORT:
            raise AttentionError(
                "the online normalizer must give every tile some weight",
                found=repr(online_normalizer),
                fix=f"use one of {', '.join(sorted(FULL_SUPPORT))}",
            )
        NORMALIZERS[anchor_normalizer]  # unknown names fail here, not in the first step
        self.model = model
        self._auto = scores == "auto"
        self._scores: Scores = _scores_of if scores == "auto" else scores
        self._beta, self._momentum = beta, momentum
        self._frozen, self._copied = anchor == "frozen", init == "copy"
        self._normalizers = (anchor_normalizer, online_normalizer)
        self._temperature, self._reduction = temperature, reduction
        self._tile_dim, self._mask, self._normalized = tile_dim, mask, normalized
        self._start_epoch, self._warmup_epochs = start_epoch, warmup_epochs
        self._epoch, self._step, self._begun = 0, 0, False
        self.max_gradient_ratio, self._gated = max_gradient_ratio, gated
        self._kl: Tensor | None = None
        self._gate: Tensor | None = None
        self._scale = torch.ones(())
        self._aligned: tuple[Tensor, list[Tensor]] | None = None
        self.anchor = Anchor(model, momentum=_at(momentum, 0), init=init)
        self._recorder = Recorder(model, self._scores)

    @property
    def beta(self) -> float:
        """The weight of the loss at this step and epoch, warm-up included; 0 before the start."""
        elapsed = self._epoch - self._start_epoch
        if elapsed < 0:
            return 0.0
        return _at(self._beta, self._step) * min(1.0, (elapsed + 1) / (self._warmup_epochs + 1))

    @property
    def momentum(self) -> float:
        """The momentum of the next update; 1 for a frozen anchor."""
        return 1.0 if self._frozen else _at(self._momentum, self._step)

    def set_epoch(self, epoch: int) -> None:
        """Tell which epoch begins, from 0."""
        self._epoch = epoch

    def begin_when_due(self) -> None:
        """Let the anchor start from the model of this moment, if its start has come; `loss` does so itself."""
        if self._epoch >= self._start_epoch and not self._begun:
            first = next(self.model.parameters(), None)
            if first is not None:
                self.anchor.module.to(first.device)
            if self._copied:  # weights may have been loaded or trained since the stabilizer was made
                self.anchor.copy_from(self.model)
            self._begun = True

    def loss(self, task_loss: Tensor | None = None) -> Tensor:
        """beta * KL of the training forwards since the last call, a scalar; several forwards count equally.

        `task_loss`, all else that the model learns from, is needed with `max_gradient_ratio` only.

        Raises:
            AttentionError: there was no such forward, the scores are not where they should be, or the task's loss is
                missing.
        """
        self._kl, self._gate, self._aligned = None, None, None
        self.begin_when_due()
        beta = self.beta
        if beta == 0:
            return torch.zeros((), device=self._taken()[0].device)
        kl, self._gate, scores = self.divergence()
        self._kl = kl.detach()
        if self.max_gradient_ratio is not None:
            if task_loss is None:
                raise AttentionError("max_gradient_ratio needs the task's loss", fix="call loss(task_loss)")
            norms = [_gradient_norm(loss, scores) for loss in (beta * kl, task_loss)]
            self._scale = self.tuned(norms[0] / norms[1].clamp(min=1e-30))
        loss = beta * self._scale * kl
        self._aligned = loss, scores
        return loss

    def divergence(self) -> tuple[Tensor, Tensor, list[Tensor]]:
        """KL(anchor || online) of the training forwards since the last call, without beta; its gate; the online scores.

        The gate is what rows count by, in the mean: 0 while the anchor is even, 1 where nothing gates.

        Nothing is remembered of it: this is what `loss` and a training of many models at once have in common.

        Raises:
            AttentionError: there was no such forward, or the scores are not where they should be.
        """
        forwards = self._taken()
        several = [self._divergence(forward) for forward in forwards]
        kl, gate = (torch.stack(values).mean() for values in zip(*several, strict=True))
        return kl, gate, [z for forward in forwards for z in forward.scores]

    def _taken(self) -> list[Forward]:
        forwards = self._recorder.take()
        if not forwards:
            raise AttentionError(
                "there is no forward to align",
                found="no call of the model in training mode, with gradient, since the last loss()",
                fix="call model.train() and run the model before loss()",
            )
        return forwards

    def tuned(self, ratio: Tensor) -> Tensor:
        """What beta is multiplied by, at most 1, to keep a ratio of gradients below `max_gradient_ratio`.

        1 without that limit, and where the ratio is not known (nan).
        """
        if self.max_gradient_ratio is None:
            return torch.ones_like(ratio)
        return (self.max_gradient_ratio / ratio.clamp(min=1e-30)).clamp(max=1).nan_to_num(nan=1.0)

    def update(self) -> None:
        """Move the anchor, after the optimiser's step. Forwards that no `loss()` took are forgotten."""
        self._recorder.take()
        self._aligned = None
        if self._begun and not self._frozen:
            self.anchor.momentum = self.momentum
            self.anchor.update(self.model)
        self._step += 1

    def statistics(self) -> dict[str, float]:
        """`kl` of the last loss in nats and its `gate` (nan where there was none), the present `beta` and `momentum`.

        The gate is what rows of attention count by, in the mean: as long as it is 0 the anchor is even and pulls at
        nothing. It is 1 without `gated`, where the anchor pulls towards evenness just as it does towards attention.
        """
        kl, gate = (math.nan if value is None else float(value) for value in (self._kl, self._gate))
        return {"kl": kl, "gate": gate, "beta": self.beta * float(self._scale), "momentum": self.momentum}

    def gradient_ratio(self, task_loss: Tensor) -> float:
        """Norm of the last loss's gradient over that of `task_loss`, both with respect to the online scores.

        Call it between `loss()` and `backward()`, now and then: it runs part of the backward pass twice. 0
        where the last loss was constant; nan where that loss does not pass through the recorded tensor of
        scores.
        """
        if self._aligned is None:
            return 0.0
        loss, scores = self._aligned
        return float(_gradient_norm(loss, scores) / _gradient_norm(task_loss, scores))

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed training needs to be bit-equal, beside the model's and optimiser's state."""
        return {
            "anchor": self.anchor.state_dict(),
            "step": self._step,
            "epoch": self._epoch,
            "begun": self._begun,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        self.anchor.load_state_dict(state["anchor"])
        self._step, self._epoch, self._begun = state["step"], state["epoch"], state["begun"]
        first = next(self.model.parameters(), None)
        if first is not None:
            self.anchor.module.to(first.device)

    def detach(self) -> None:
        """Remove every trace from the model."""
        self._recorder.detach()
        self._aligned = None

    def _divergence(self, forward: Forward) -> tuple[Tensor, Tensor]:
        """KL, which counts each row by the gate, and the mean of the latter."""
        anchored = self._anchor_scores(forward)
        if not forward.scores or len(anchored) != len(forward.scores):
            raise AttentionError(
                "the submodule with the scores must run in the forward, equally often in both branches",
                found=f"{len(forward.scores)} calls online, {len(anchored)} in the anchor",
                fix="name another submodule, or take the scores from the output by a function",
            )
        terms, gates = [], []
        for target, online in zip(anchored, forward.scores, strict=True):
            layout = self._layout_of(forward, online)
            if forward.order is not None:  # one split for both branches: the online one
                target, online = target[forward.order], online[forward.order]
            target, online = self._logits(target), self._logits(online)
            gate = unevenness(target, layout, temperature=self._temperature) if self._gated else None
            gates.append(torch.ones_like(target.flatten()[0]) if gate is None else gate.mean())
            terms.append(
                alignment(
                    target,
                    online,
                    layout,
                    normalizers=self._normalizers,
                    temperature=self._temperature,
                    reduction=self._reduction,
                    gate=gate,
                )
            )
        return torch.stack(terms).mean(), torch.stack(gates).mean().detach()

    @torch.no_grad()
    def _anchor_scores(self, forward: Forward) -> list[Tensor]:
        module = self.anchor.module
        alone = getattr(module, "attention_scores", None) if self._auto else None
        captured: list[Tensor] = []
        with forward.replayed():
            if alone is not None:
                return [checked(alone(*forward.args, **forward.kwargs))]
            if callable(self._scores):
                return [checked(self._scores(module(*forward.args, **forward.kwargs)))]
            part = find_part(module, self._scores)
            with part.register_forward_hook(lambda _, __, output: captured.append(checked(output))):
                module(*forward.args, **forward.kwargs)
            return captured

    def _logits(self, scores: Tensor) -> Tensor:
        return scores.clamp_min(torch.finfo(scores.dtype).tiny).log() if self._normalized else scores

    def _layout_of(self, forward: Forward, scores: Tensor) -> Layout:
        mask = self._mask(*forward.args, **forward.kwargs) if callable(self._mask) else self._mask
        first = forward.args[0] if forward.args else None
        packed = forward.layout or getattr(first, "layout", None)
        packed = packed if isinstance(packed, Packed) else None  # tensors have a layout too, of another kind
        offsets = getattr(first, "offsets", None)
        if self._tile_dim is None and packed is None and offsets is not None:
            packed = Packed.of(offsets)
        if self._tile_dim is None and packed is not None:
            return packed if mask is None else packed.masked(mask)
        if self._auto and self._tile_dim is None:
            raise AttentionError(
                'scores="auto" needs to know which tiles belong to which bag',
                found=f"a first input without a layout or offsets, {type(first).__name__}",
                fix="give the model a BagBatch as its first positional input, or set tile_dim",
            )
        dim = self._tile_dim if self._tile_dim is not None else -2 if isinstance(self._scores, str) else -1
        if scores.dim() == 1 and self._tile_dim is None:
            dim = 0
        if not -scores.dim() <= dim < scores.dim():
            raise AttentionError("tile_dim is no axis of the scores", found=f"{dim} of {tuple(scores.shape)}")
        if scores.shape[dim] == 1 and scores.numel() > 1:
            warnings.warn(
                f"scores of shape {tuple(scores.shape)} have one tile along tile_dim={dim}: "
                "nothing to align. If another axis is the tiles, set tile_dim."
            )
        return Dense(dim, mask)


def _scores_of(output: Any) -> Tensor:
    """The scores of a MILOutput."""
    scores = getattr(output, "scores", None)
    if scores is None:
        raise AttentionError(
            'the model returns no scores, which scores="auto" reads',
            found=type(output).__name__,
            fix="use a model with attention, or name the submodule that returns its scores",
        )
    return scores


def _at(schedule: Schedule, step: int) -> float:
    return float(schedule(step) if callable(schedule) else schedule)


def _gradient_norm(loss: Tensor, scores: list[Tensor]) -> Tensor:
    """Norm of the gradient with respect to the scores; nan where the loss does not pass through one of them."""
    gradients = torch.autograd.grad(loss, scores, retain_graph=True, allow_unused=True)
    if any(gradient is None for gradient in gradients):
        return loss.new_full((), math.nan)
    return torch.stack([g.float().square().sum() for g in gradients]).sum().sqrt()
