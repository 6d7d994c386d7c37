"""IBMIL: ABMIL whose classifier also sees what the bag shares with the typical bags of the training set."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from asmil.bags import Bag, BagBatch
from asmil.models._layers import require
from asmil.models.abmil import ABMIL

PAPER = "Interventional Bag Multi-Instance Learning On Whole-Slide Pathological Images, CVPR 2023, arXiv 2303.06873"
ALIGNED = "The attention over the tiles, one row; not the attention over the confounders."

ATTENTION_DIM = 128
MERGES = ("cat", "add", "sub")


class Deconfounder(nn.Linear):
    """Linear classifier of a bag and of c = sum_i a_i c_i, where a = softmax_i(W_k c_i . W_q bag / sqrt(128)).

    The c_i are the confounders, of the bag's width: (k, dim), a buffer.

    `merge` says how the two come together: side by side ("cat"), or bag + c ("add"), or bag - c ("sub"). W_k has no
    bias, as the softmax cannot see it. The confounders are zeros until `fill`; then c = 0 and this is a plain linear
    classifier.
    """

    confounders: Float[Tensor, "k dim"]
    present: Bool[Tensor, " k"]

    def __init__(self, dim: int, n_classes: int, *, confounders: int, merge: str):
        super().__init__(2 * dim if merge == "cat" else dim, n_classes)
        require(confounders > 0, "ibmil needs confounders", found=confounders, fix="2 to 16 are the paper's")
        require(merge in MERGES, "there is no such merge", found=merge, fix=f"use one of {MERGES}")
        self.merge = merge
        self.query = nn.Linear(dim, ATTENTION_DIM)
        self.key = nn.Linear(dim, ATTENTION_DIM, bias=False)
        self.register_buffer("confounders", torch.zeros(confounders, dim))
        self.register_buffer("present", torch.ones(confounders, dtype=torch.bool))

    def forward(self, bags: Float[Tensor, "bags dim"]) -> Float[Tensor, "bags classes"]:
        scores = self.query(bags) @ self.key(self.confounders).T / math.sqrt(ATTENTION_DIM)
        context = scores.masked_fill(~self.present, -torch.inf).softmax(-1) @ self.confounders
        if self.merge == "cat":
            return super().forward(torch.cat([bags, context.to(bags.dtype)], 1))
        return super().forward(bags + context if self.merge == "add" else bags - context)

    def fill(self, centroids: Float[Tensor, "found dim"]) -> None:
        """Take these confounders, at most as many as there is room for; rows left empty get no attention."""
        room, count = len(self.confounders), len(centroids)
        self.confounders.copy_(F.pad(centroids, (0, 0, 0, room - count)))
        self.present.copy_(torch.arange(room) < count)


class IBMIL(ABMIL):
    """Interventional bag MIL of Lin et al. 2023 (backdoor adjustment) with ABMIL as its host.

    Three stages, run by `prepare` before training: an ABMIL is trained on the same parts; its embeddings of the
    training bags are clustered by k-means (L2-normalised for the clustering, the centroids are means of the embeddings
    as they are) into `confounders` typical bags, clipped to the number of bags; then the model itself is trained from
    scratch, with attention over these, which stay in the space of the first stage. Without `prepare` there are no
    confounders, and the model is its host.

    `merge` is "cat", "add" or "sub". The other options are ABMIL's. Ours: k-means starts ten times instead of once,
    and the loss is the cross-entropy of all models here instead of one sigmoid per class; the host has a projection
    and a narrow gated score, where the paper's works on the features as they are.

    Raises:
        ConfigError: an option out of its range.
        UnknownPartError: no attention normaliser of that name.
    """

    def __init__(
        self,
        in_dim: int,
        n_classes: int,
        *,
        dim: int | None = None,
        hidden: int = 128,
        gated: bool = True,
        dropout: float = 0.25,
        confounders: int = 8,
        merge: str = "cat",
        attention_normalizer: str = "softmax",
    ):
        host = partial(
            ABMIL,
            dim=dim,
            hidden=hidden,
            gated=gated,
            dropout=dropout,
            attention_normalizer=attention_normalizer,
        )
        super().__init__(in_dim, n_classes, **host.keywords)
        self._host = partial(host, in_dim, n_classes)
        self.classifier = Deconfounder(self.classifier.in_features, n_classes, confounders=confounders, merge=merge)

    @torch.no_grad()
    def prepare(self, train: Sequence[Bag], train_stage: Callable[[nn.Module], nn.Module]) -> None:
        """Train a host by `train_stage` and fill the confounders from what it makes of the training bags."""
        with torch.enable_grad():
            host = train_stage(self._host()).eval()
        device = next(host.parameters()).device
        batches = (BagBatch.from_bags(bag).to(device) for bag in train)
        embeddings = torch.cat([host(batch).embedding.float() for batch in batches]).cpu().numpy()
        deconfounder = cast(Deconfounder, self.classifier)
        deconfounder.fill(_centroids(embeddings, len(deconfounder.confounders)))


def _centroids(embeddings: np.ndarray, k: int) -> Float[Tensor, "found dim"]:
    """Means of the embeddings (bags, dim) of each cluster that k-means finds in their directions."""
    from sklearn.cluster import KMeans  # here, because its import takes a second

    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    directions = embeddings / np.maximum(lengths, np.finfo(np.float32).tiny)
    kinds = len(np.unique(directions, axis=0))
    clusters = KMeans(min(k, kinds), n_init=10, max_iter=20, random_state=0).fit_predict(directions)
    return torch.from_numpy(np.stack([embeddings[clusters == c].mean(0) for c in np.unique(clusters)]))


MODEL = IBMIL
