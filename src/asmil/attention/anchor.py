"""The anchor branch: a copy of a module that follows it by exponential moving average."""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from asmil.errors import AttentionError

Buffers = dict[str, Tensor | None]


class Anchor:
    """A slow copy of `module`, in eval mode, without gradient.

    It is not a module and no child of the online model: the model's `state_dict`, parameters and `train()`
    never meet it. `init="independent"` draws new weights by the submodules' own `reset_parameters` instead of
    starting equal to the online module (as the authors' published script does).

    Raises:
        AttentionError: momentum outside [0, 1], an unknown init, nothing to re-initialise, or trainable
        weights in
            half precision, where steps of 1 - momentum round to nothing.
    """

    def __init__(self, module: nn.Module, *, momentum: float = 0.999, init: str = "copy"):
        if init not in ("copy", "independent"):
            raise AttentionError("unknown anchor init", found=repr(init), fix='use "copy" or "independent"')
        half = {p.dtype for p in module.parameters() if p.requires_grad and p.dtype.itemsize < 4}
        if half:
            raise AttentionError(
                "an anchor of half-precision weights would never move",
                found=", ".join(map(str, half)),
                fix="keep the weights in float32 and train under torch.autocast",
            )
        self.momentum = momentum
        memo = {id(tensor): tensor.detach().clone() for tensor in _cached_tensors(module)}
        self.module = copy.deepcopy(module, memo)
        if init == "independent":
            self._draw_weights()
        self.module.eval().requires_grad_(False)
        self._pairs: tuple[nn.Module, list[Tensor], list[Tensor]] | None = None
        self._kept: list[tuple[Buffers, Buffers]] = []

    @property
    def momentum(self) -> float:
        """The share of the anchor kept in an update, in [0, 1]; 1 freezes it."""
        return self._momentum

    @momentum.setter
    def momentum(self, value: float) -> None:
        if not 0 <= value <= 1:
            raise AttentionError("the momentum must be within [0, 1]", found=value)
        self._momentum = value

    @torch.no_grad()
    def update(self, online: nn.Module) -> None:
        """theta' <- m theta' + (1 - m) theta; buffers are copied. Call after the optimiser's step."""
        if self._pairs is None or self._pairs[0] is not online:  # walking modules takes longer than small weights
            self._pairs = online, list(self.module.parameters()), list(online.parameters())
            both = zip(self.module.modules(), online.modules(), strict=False)  # as long as they have equal parameters
            self._kept = [(mine._buffers, theirs._buffers) for mine, theirs in both if theirs._buffers]
        _, anchored, followed = self._pairs
        if len(anchored) != len(followed):
            raise AttentionError(
                "the online module gained or lost parameters since its anchor was made",
                found=f"{len(followed)} parameters, {len(anchored)} in the anchor",
                fix="build the whole model before its anchor",
            )
        follow(anchored, followed, momentum=self.momentum)
        for kept, others in self._kept:
            for name, value in others.items():
                own = kept.get(name)
                if own is not None and value is not None:
                    own.copy_(value)

    @torch.no_grad()
    def copy_from(self, online: nn.Module) -> None:
        """Make all parameters and buffers equal to the online module's."""
        for mine, theirs in zip(self.module.parameters(), online.parameters(), strict=True):
            mine.copy_(theirs)
        for kept, other in zip(self.module.buffers(), online.buffers(), strict=True):
            kept.copy_(other)

    def state_dict(self) -> dict[str, Tensor]:
        """The weights and buffers of the anchor."""
        return self.module.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Put back what `state_dict` returned."""
        self.module.load_state_dict(state)

    def _draw_weights(self) -> None:
        draws = [getattr(part, "reset_parameters", None) for part in self.module.modules()]
        if not any(draws):
            raise AttentionError(
                "no part of the module can draw new weights",
                found=type(self.module).__name__,
                fix='give it a method reset_parameters, or use init="copy"',
            )
        for draw in filter(None, draws):
            draw()


@torch.no_grad()
def follow(slow: list[Tensor], online: list[Tensor], *, momentum: float) -> None:
    """Move weights towards others by exponential moving average, in place: slow <- m slow + (1 - m) online."""
    torch._foreach_lerp_(slow, online, 1 - momentum)


def _cached_tensors(module: nn.Module) -> Iterator[Tensor]:
    """Tensors inside a graph that a module keeps as plain attributes: what deepcopy refuses to copy."""
    for part in module.modules():
        waiting: list[object] = [vars(part)]
        seen: set[int] = set()
        while waiting:
            value = waiting.pop()
            if isinstance(value, Tensor):
                if not value.is_leaf:
                    yield value
            elif isinstance(value, dict | list | tuple) and id(value) not in seen:
                seen.add(id(value))
                waiting.extend(value.values() if isinstance(value, dict) else value)
