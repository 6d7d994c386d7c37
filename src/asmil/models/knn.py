"""KNN: the nearest training bags vote, by the cosine of their mean vectors; k is chosen on the validation part."""

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from asmil.attention import on_device
from asmil.bags import Bag, BagBatch
from asmil.models.linear import mean_vectors
from asmil.models.parts.layers import MILOutput, require

PAPER = "Nearest neighbor pattern classification, IEEE Trans. Information Theory 1967, doi 10.1109/TIT.1967.1053964"
ALIGNED = ""
NEEDS_CLASSES = "its neighbours vote for classes"

KS = (1, 3, 5, 9, 15, 25, 49)
"""What k is chosen among, as far as there are so many training bags."""


class KNN(nn.Module):
    """The k training bags whose mean vectors have the largest cosine with a bag's vote for their classes.

        p_c = (votes for c + 1/C) / (k + 1)        C classes; logits are a log(C p)

    `prepare` keeps the training bags' vectors and labels: they are the weights. `choose` takes the k of `KS` with the
    least log loss on the validation part, the smaller of equal ones; `k` settles it. What is trained is a alone, how
    sure votes are, on the training bags without themselves. Before `prepare` there are no neighbours, and no opinion.

    Raises:
        ConfigError: k is not positive.
    """

    vectors: Float[Tensor, "kept in_dim"]
    labels: Int[Tensor, " kept"]
    names: Int[Tensor, " kept"]
    k: Int[Tensor, ""]

    def __init__(self, in_dim: int, n_classes: int, *, k: int | None = None):
        super().__init__()
        found, fix = (in_dim, n_classes), "check in_dim and n_classes"
        require(in_dim > 0 and n_classes > 0, "neighbours need features and classes", found=found, fix=fix)
        require(k is None or k > 0, "k is a number of neighbours", found=k, fix="leave it out: validation chooses it")
        self.n_classes, self.given, self.most = n_classes, k is not None, max(KS[-1], k or 0)
        self.register_buffer("vectors", torch.zeros(0, in_dim))
        self.register_buffer("labels", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("names", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("k", torch.tensor(k or KS[2]))
        self.sureness = nn.Parameter(torch.zeros(()))

    @torch.no_grad()
    def prepare(self, train: Sequence[Bag], train_stage: Callable[[nn.Module], nn.Module]) -> None:
        """Keep the training bags; there are no stages to train."""
        batches = [BagBatch.from_bags(bag).to(self.vectors.device) for bag in train]
        self.vectors = torch.cat([_directions(mean_vectors(batch, self.vectors)[1]) for batch in batches])
        self.labels = torch.cat([cast(Tensor, batch.labels) for batch in batches])
        self.names = _numbers([bag.slide for bag in train], like=self.labels)

    @torch.no_grad()
    def choose(self, val: Sequence[Bag]) -> None:
        """Choose k by the log loss on validation bags, unless it was given."""
        if self.given:
            return
        batches = [BagBatch.from_bags(bag).to(self.vectors.device) for bag in val]
        vectors = torch.cat([mean_vectors(batch, self.vectors)[1] for batch in batches])
        labels = torch.cat([cast(Tensor, batch.labels) for batch in batches])
        near, tried = self._near(vectors, names=None), [k for k in KS if k <= max(1, len(self.vectors))]
        losses = {k: float(F.cross_entropy(self._log_votes(near, torch.tensor(k)), labels)) for k in tried}
        self.k.fill_(min(losses, key=lambda k: (round(losses[k], 9), k)))

    @torch.no_grad()
    def adopt(self, other: "KNN") -> None:
        """Take the k that another was given by its validation part."""
        self.k.copy_(other.k)

    def forward(self, batch: BagBatch) -> MILOutput:
        attention, mean = mean_vectors(batch, self.vectors)
        names = _numbers(batch.slides, like=self.labels) if self.training and batch.slides else None
        log_votes = self._log_votes(self._near(mean, names=names), self.k)
        return MILOutput(self.sureness.exp() * log_votes.to(mean), attention, mean)

    def _near(
        self, vectors: Float[Tensor, "bags in_dim"], *, names: Int[Tensor, " bags"] | None
    ) -> Int[Tensor, "bags near"]:
        """The classes of the nearest kept bags, nearest first; without those of these names, which count as -1."""
        with torch.autocast(vectors.device.type, enabled=False):  # half precision would change who is near
            likeness = _directions(vectors.float()) @ self.vectors.float().T
        if names is not None:
            likeness = likeness.masked_fill(names.unsqueeze(1) == self.names, -torch.inf)
        near = likeness.topk(min(self.most, len(self.vectors)), dim=1)
        return self.labels[near.indices].masked_fill(near.values == -torch.inf, -1)

    def _log_votes(self, near: Int[Tensor, "bags near"], k: Int[Tensor, ""]) -> Float[Tensor, "bags classes"]:
        rank = torch.arange(near.shape[1], device=near.device)
        some = near.where(rank < k.to(near.device), -1)
        votes = (some.unsqueeze(2) == torch.arange(self.n_classes, device=near.device)).sum(1)
        return torch.log((self.n_classes * votes + 1) / (votes.sum(1, keepdim=True) + 1))

    def make_room(self, state: Mapping[str, Tensor]) -> None:
        """Take as many training bags as these weights hold, which may be those of a model around this one."""
        kept = {name.rpartition(".")[2]: value.shape for name, value in state.items()}
        for name in ("vectors", "labels", "names"):
            if kept.get(name):
                own = getattr(self, name)
                setattr(self, name, own.new_empty(kept[name][:1] + own.shape[1:]))

    def _load_from_state_dict(self, state: dict[str, Tensor], prefix: str, *args: object) -> None:
        self.make_room({name: value for name, value in state.items() if name.startswith(prefix)})
        super()._load_from_state_dict(state, prefix, *args)


def _directions(vectors: Float[Tensor, "bags in_dim"]) -> Float[Tensor, "bags in_dim"]:
    return F.normalize(vectors, dim=1)


def _numbers(names: Sequence[str], *, like: Tensor) -> Int[Tensor, " names"]:
    """Names of slides as numbers, which travel with the weights."""
    digests = [blake2b(name.encode(), digest_size=8).digest() for name in names]
    numbers = [int.from_bytes(digest, "big", signed=True) for digest in digests]
    return on_device(torch.tensor(numbers, dtype=torch.int64), like.device)


MODEL = KNN
