"""The weights of models of one shape as rows of one matrix, and AdamW on these rows."""

from collections.abc import Sequence
from itertools import accumulate, pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from asmil.errors import ConfigError
from asmil.training.optim import TrainSettings, decayed_names


class Rows:
    """Parameters of models of one shape as rows of one matrix, into which the models' own parameters then look.

    `named` are the same numbers by name, (models, ...) each.

    Raises:
        ConfigError: the parameters have several types, or lie on several devices.
    """

    def __init__(self, models: Sequence[nn.Module], names: Sequence[str]):
        several = [dict(model.named_parameters()) for model in models]
        self.models, self.names = list(models), list(names)
        kinds = {(several[0][name].dtype, several[0][name].device) for name in names}
        if len(kinds) > 1:
            raise ConfigError(
                "a model is trained whose parameters have one type and one device",
                found=", ".join(sorted(f"{dtype} on {device}" for dtype, device in kinds)),
                fix="model.to(device, torch.float32)",
            )
        ends = [0, *accumulate(several[0][name].numel() for name in names)]
        self.spans = {name: slice(*span) for name, span in zip(names, pairwise(ends), strict=True)}
        self.matrix = torch.stack([torch.cat([own[name].detach().flatten() for name in names]) for own in several])
        self.named = {
            name: self.matrix[:, span].view(len(models), *several[0][name].shape) for name, span in self.spans.items()
        }
        for index, own in enumerate(several):
            for name in names:
                own[name].data = self.named[name][index]

    def release(self) -> None:
        """Give the models parameters of their own again, with the same numbers."""
        for model in self.models:
            for parameter in model.parameters():
                parameter.data = parameter.data.clone()


def trained_names(model: nn.Module) -> tuple[list[str], int]:
    """The names of the trained parameters, those that decay first, and how many numbers these are."""
    decayed = decayed_names(model)
    trained = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}
    border = sum(count for name, count in trained.items() if name in decayed)
    return sorted(trained, key=lambda name: name not in decayed), border


class RowAdamW:
    """AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101) on every row, with a learning rate for each.

    Of a row the first `border` weights decay, the others do not.
    """

    def __init__(self, rows: Rows, border: int, settings: TrainSettings):
        self.rows, self.border, self.clip_norm = rows, border, settings.clip_norm
        device = rows.matrix.device.type
        groups = [
            {"params": [nn.Parameter(part)], "weight_decay": decay}
            for row in rows.matrix
            for part, decay in zip(self._cut(row), (settings.weight_decay, 0.0), strict=True)
        ]
        # One pass over the moments instead of some fifteen, where torch has it.
        self.adamw = torch.optim.AdamW(groups, lr=settings.learning_rate, fused=device in ("cpu", "cuda"))

    @torch.no_grad()
    def step(
        self, gradient: Float[Tensor, "models weights"], rates: Sequence[float], *, without: Sequence[str] = ()
    ) -> None:
        """Clip every model's own gradient, and step; parameters `without` a gradient stay as they are."""
        norm = gradient.norm(dim=1, keepdim=True)
        gradient.mul_((self.clip_norm / (norm + 1e-6)).clamp(max=1))
        before = {name: self.rows.named[name].clone() for name in without}
        groups = iter(self.adamw.param_groups)
        for row, rate in zip(gradient, rates, strict=True):
            for part in self._cut(row):
                group = next(groups)
                group["params"][0].grad, group["lr"] = part, rate
        self.adamw.step()
        for name, values in before.items():
            self.rows.named[name].copy_(values)

    def moments(self, index: int) -> dict[str, Tensor]:
        """What AdamW remembers of a model: its number of steps, first and second moments; empty before the first."""
        parts = [self.adamw.state.get(group["params"][0], {}) for group in self._groups(index)]
        if not parts[0]:
            return {}
        first, second = (torch.cat([part[name] for part in parts]) for name in ("exp_avg", "exp_avg_sq"))
        return {"step": parts[0]["step"].clone(), "first": first, "second": second}

    def set_moments(self, index: int, moments: dict[str, Tensor]) -> None:
        """Put back what `moments` returned."""
        if not moments:
            return
        first, second = (self._cut(moments[name].to(self.rows.matrix.device)) for name in ("first", "second"))
        for group, one, two in zip(self._groups(index), first, second, strict=True):
            own = {"step": moments["step"].clone(), "exp_avg": one.clone(), "exp_avg_sq": two.clone()}
            self.adamw.state[group["params"][0]] = own

    def _groups(self, index: int) -> list[dict]:
        return self.adamw.param_groups[2 * index : 2 * index + 2]

    def _cut(self, row: Float[Tensor, " weights"]) -> tuple[Tensor, Tensor]:
        return row[: self.border], row[self.border :]
