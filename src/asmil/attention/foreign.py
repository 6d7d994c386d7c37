"""What the stabilizer sees of any model, ours or not: inputs and scores of its training forwards, by hooks."""

import difflib
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from asmil.attention.layout import Packed
from asmil.errors import AttentionError

Scores = str | Callable[[Any], Tensor]


@dataclass
class Forward:
    """One training forward: its inputs, its scores, and the state in which another model can be run alike."""

    device: torch.device
    random_state: Tensor
    device_random_state: Tensor | None
    args: tuple[object, ...] = ()
    kwargs: dict[str, object] = field(default_factory=dict)
    scores: list[Tensor] = field(default_factory=list)
    layout: Packed | None = None
    order: Tensor | None = None
    autocast: tuple[bool, torch.dtype] = (False, torch.float32)

    @contextmanager
    def replayed(self):
        """The random numbers and the autocast of the recorded forward; the caller's come back after."""
        devices = [self.device] if self.device_random_state is not None else []
        enabled, dtype = self.autocast
        with ExitStack() as stack:
            stack.enter_context(torch.random.fork_rng(devices=devices))
            torch.set_rng_state(self.random_state)
            if self.device_random_state is not None:
                torch.cuda.set_rng_state(self.device_random_state, self.device)
            if enabled or torch.is_autocast_enabled(self.device.type):
                stack.enter_context(torch.autocast(self.device.type, dtype=dtype, enabled=enabled))
            yield


class _Hook:
    """A bound method that `deepcopy` and `pickle` of the model leave behind: a copied model is free."""

    def __init__(self, function: Callable[..., None] | None = None):
        self.function = function

    def __call__(self, *args: object) -> None:
        if self.function is not None:
            self.function(*args)

    def __reduce__(self):
        return _Hook, ()


class Recorder:
    """Records the training forwards of a model (training mode, gradient enabled) until they are taken.

    Any other forward costs two comparisons. Where `scores` names a submodule, each of its calls within a
    forward counts; else `scores` reads them from the model's output.
    """

    def __init__(self, model: nn.Module, scores: Scores):
        self.forwards: list[Forward] = []
        self._open: Forward | None = None
        self._read = scores if callable(scores) else None
        self._handles = [
            model.register_forward_pre_hook(_Hook(self._begin)),
            model.register_forward_hook(_Hook(self._end), with_kwargs=True),
        ]
        if isinstance(scores, str):
            part = find_part(model, scores)
            self._handles.append(part.register_forward_hook(_Hook(self._score)))

    def take(self) -> list[Forward]:
        """The forwards recorded since the last call."""
        taken, self.forwards = self.forwards, []
        return taken

    def detach(self) -> None:
        """Remove every hook."""
        for handle in self._handles:
            handle.remove()
        self.take()

    def _begin(self, model: nn.Module, args: tuple[object, ...]) -> None:
        self._open = None
        if model.training and torch.is_grad_enabled():
            first = next(model.parameters(), None)
            device = first.device if first is not None else torch.device("cpu")
            on_device = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
            self._open = Forward(device, torch.get_rng_state(), on_device)

    def _score(self, part: nn.Module, args: tuple[object, ...], output: object) -> None:
        if self._open is not None:
            self._open.scores.append(checked(output))

    def _end(self, model: nn.Module, *call: Any) -> None:
        forward, self._open = self._open, None
        if forward is None:
            return
        forward.args, forward.kwargs, output = call
        forward.layout = getattr(output, "score_layout", None)
        forward.order = getattr(output, "score_order", None)
        device = forward.device.type
        forward.autocast = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
        if self._read is not None:
            forward.scores.append(checked(self._read(output)))
        self.forwards.append(forward)


def find_part(model: nn.Module, name: str) -> nn.Module:
    """The submodule of that dotted name.

    Raises:
        AttentionError: there is none; names the nearest.
    """
    known = dict(model.named_modules())
    if name not in known:
        leaf = name.rpartition(".")[2]
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        near += [other for other in known if other.rpartition(".")[2] == leaf][:3]
        listed = ", ".join(dict.fromkeys(near or [other for other in known if other]))
        raise AttentionError(
            f"the model has no submodule {name!r}",
            found=f"{type(model).__name__}",
            fix=f"names like it: {listed}",
        )
    return known[name]


def checked(scores: object) -> Tensor:
    """The scores, if they are a tensor of scores.

    Raises:
        AttentionError: they are anything else.
    """
    if isinstance(scores, Tensor) and scores.is_floating_point() and scores.dim() > 0:
        return scores
    found = f"{tuple(scores.shape)} of {scores.dtype}" if isinstance(scores, Tensor) else type(scores).__name__
    raise AttentionError(
        "the attention scores must be a floating-point tensor with an axis of tiles",
        found=found,
        fix="name the submodule that returns them, or give scores=lambda output: ... for this model",
    )
