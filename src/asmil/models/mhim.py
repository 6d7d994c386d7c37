"""MHIM: a slow teacher's attention hides the easy tiles from its student, which learns from the hard ones."""

import copy
import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from asmil.attention import follow
from asmil.bags import Bag, BagBatch
from asmil.draws import uniform
from asmil.models.abmil import ABMIL
from asmil.models.parts.layers import MILOutput, pool, require

PAPER = (
    "Multiple Instance Learning Framework with Masked Hard Instance Mining for Whole Slide Image Classification, "
    "ICCV 2023, arXiv 2307.15254"
)
ALIGNED = "The student's attention over all tiles, one row, before the masking."


class MHIM(nn.Module):
    """Masked hard instance mining around ABMIL (the authors' first version).

    In training the teacher attends to the whole bag, and the student pools what three masks leave of it: a random
    `mask_random` of the tiles; the `mask_low` of lowest attention; and `high_share` of a pool of the highest, picked
    at random, the pool being `mask_high` / `high_share`. The latter two are shares of the tiles not masked yet, but
    rank all of them, so masks may overlap. `mask_high` falls to 0 over the training by a half cosine. Counts are
    rounded up; where nothing would be left (a bag of one tile) nothing is masked.

    The loss "consistency" is `consistency` * CE(softmax(teacher's embedding / `temperature`), student's embedding).
    After each step the teacher moves towards the student, with `momentum`. With `pretrain`, `prepare` first trains
    an ABMIL of the same kind on the same bags: the teacher starts from it, the student takes its projection only.
    Defaults are the authors' for ABMIL on CAMELYON16. `gated` and `hidden` are ABMIL's; theirs is not gated.

    In evaluation only the student runs, over all tiles. The teacher stays in the `state_dict`, as resuming needs
    it; it has no gradient. As the authors', it keeps its dropout in training. `scores` are the student's for all
    tiles, so both branches of a stabilizer see the same ones.

    Deviations: layers start as torch's do, not Xavier-normal, and the scoring network has biases, as our ABMIL; the
    momentum is constant.

    Raises:
        ConfigError: an option out of its range.
    """

    progress: Tensor

    def __init__(
        self,
        in_dim: int,
        n_classes: int,
        *,
        dim: int | None = None,
        hidden: int = 128,
        gated: bool = False,
        dropout: float = 0.25,
        mask_random: float = 0.5,
        mask_low: float = 0.0,
        mask_high: float = 0.01,
        high_share: float = 0.5,
        consistency: float = 0.1,
        temperature: float = 0.1,
        momentum: float = 0.9999,
        pretrain: bool = True,
    ):
        super().__init__()
        for name, share in {"mask_random": mask_random, "mask_low": mask_low, "mask_high": mask_high}.items():
            require(0 <= share < 1, f"{name} is a share of the tiles in [0, 1)", found=share, fix="0 masks none")
        require(0 < high_share <= 1, "high_share is a share above 0", found=high_share, fix="0.5 is usual, 1 all")
        require(consistency >= 0, "consistency is a weight", found=consistency, fix="0.1 or 0.5 are usual")
        require(temperature > 0, "the temperature is above 0", found=temperature, fix="0.1 is usual")
        require(0 <= momentum <= 1, "the momentum is in [0, 1]", found=momentum, fix="0.9999 is usual")
        self.mask_random, self.mask_low, self.mask_high, self.high_share = mask_random, mask_low, mask_high, high_share
        self.consistency, self.temperature, self.momentum = consistency, temperature, momentum
        self.pretrain = pretrain
        self.student = _MaskedABMIL(in_dim, n_classes, dim=dim, hidden=hidden, gated=gated, dropout=dropout)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.register_buffer("progress", torch.zeros(()))

    def forward(self, batch: BagBatch) -> MILOutput:
        if not self.training:
            return self.student(batch)
        with torch.no_grad():
            teacher = self.teacher(batch)
            keep = torch.cat([self._keep(bag) for bag in batch.split(teacher.attention)])
        output = self.student(batch, keep)
        target = (teacher.embedding.float() / self.temperature).softmax(1)
        distance = -(target * output.embedding.float().log_softmax(1)).sum(1)
        output.losses["consistency"] = self.consistency * distance
        return output

    def attention_scores(self, batch: BagBatch) -> Float[Tensor, "tiles rows"]:
        """The student's scores alone: all that an anchor has to run."""
        return self.student.attention_scores(batch)

    def prepare(self, train: list[Bag], train_stage: Callable[[nn.Module], nn.Module]) -> None:
        """Train the baseline that the teacher starts from; `fit` calls this before the first step."""
        if self.pretrain:
            baseline = train_stage(copy.deepcopy(self.student))
            self.teacher.load_state_dict(baseline.state_dict())
            self.student.projection.load_state_dict(self.teacher.projection.state_dict())

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """Move the teacher towards the student; `progress` in [0, 1] of the training sets `mask_high`."""
        self.progress.fill_(progress)
        # no `Anchor`: the teacher has its own dropout, and belongs to the state_dict
        follow(list(self.teacher.parameters()), list(self.student.parameters()), momentum=self.momentum)

    def _keep(self, attention: Float[Tensor, " tiles"]) -> Bool[Tensor, " tiles"]:
        """False for the tiles of one bag that the student does not see."""
        tiles = len(attention)
        masked = _first(uniform(attention.shape, attention.device), math.ceil(tiles * self.mask_random))
        masked = masked | _first(attention, ((~masked).sum() * self.mask_low).ceil())

        ratio = self.mask_high * (1 + torch.cos(math.pi * self.progress)) / 2
        chosen = ((~masked).sum() * (ratio / self.high_share).clamp(max=1)).ceil()
        highest = _first(-attention, chosen)
        lot = uniform(attention.shape, attention.device).masked_fill(~highest, torch.inf)
        keep = ~(masked | _first(lot, (chosen * self.high_share).ceil()))
        return keep | ~keep.any()


class _MaskedABMIL(ABMIL):
    """ABMIL that can leave tiles out of the pooling."""

    def forward(self, batch: BagBatch, keep: Bool[Tensor, " tiles"] | None = None) -> MILOutput:
        if keep is None:
            return super().forward(batch)
        tiles = self.projection(batch.features)
        scores = self._score(tiles)
        weights = self.normalizer(scores, batch.layout.masked(keep[:, None]))
        embedding = pool(weights, tiles, batch.layout).squeeze(1)
        return MILOutput(self.classifier(embedding), weights.squeeze(1), embedding, scores)


def _first(values: Float[Tensor, " tiles"], count: int | Tensor) -> Bool[Tensor, " tiles"]:
    """True for the `count` smallest values; a count on the device needs no waiting for it."""
    return values.argsort(stable=True).argsort() < count


MODEL = MHIM
