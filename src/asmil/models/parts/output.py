"""What every MIL model returns."""

from dataclasses import dataclass, field

from jaxtyping import Float, Int
from torch import Tensor

from asmil.attention import Packed


@dataclass(frozen=True)
class MILOutput:
    """The complete result of a model on a `BagBatch`; rows of packed tensors are the batch's tiles.

    `logits` (bags, classes). `scores` (tiles, rows): attention before normalisation, one column per attention
    row (token x head, class ...); None for models without attention. `attention` (tiles,): the slide's map,
    sums to 1 over the tiles of each bag. `embedding` (bags, dim): what the classifier sees. `losses`: a
    model's own extra terms by name, (bags,) each and already weighted; their means over the bags are added to the
    task loss. `score_layout` and `score_order` only where scores are normalised over other segments than the
    batch's bags (the random pseudo-bags of DTFD-MIL): the segments lie end to end in scores[order].
    """

    logits: Float[Tensor, "bags classes"]
    attention: Float[Tensor, " tiles"]
    embedding: Float[Tensor, "bags dim"]
    scores: Float[Tensor, "tiles rows"] | None = None
    losses: dict[str, Tensor] = field(default_factory=dict)
    score_layout: Packed | None = None
    score_order: Int[Tensor, " tiles"] | None = None

    def segments(self, layout: Packed) -> tuple[Tensor | slice, Packed]:
        """What to index scores by, and how they are then packed: the order and segments above, or the bags'."""
        order = slice(None) if self.score_order is None else self.score_order
        return order, layout if self.score_layout is None else self.score_layout
