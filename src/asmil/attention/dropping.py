"""Random dropping of tokens in training: each with probability B, never all of them."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from asmil.draws import uniform
from asmil.errors import AttentionError


def drop_tokens(
    tokens: Float[Tensor, "bags tokens dim"], probability: float, *, training: bool
) -> Bool[Tensor, "bags tokens"]:
    """Which tokens to keep (True) in each bag.

    Every token is dropped with `probability`, so Binomial(tokens, 1 - probability) are kept; where that is
    none, one is kept, each token alike. Outside training all are kept and no random number is drawn.
    Source: ASMIL, arXiv 2603.06658, token random dropping.

    Raises:
        AttentionError: probability outside [0, 1), or no tokens.
    """
    if not 0 <= probability < 1:
        raise AttentionError("the drop probability must be within [0, 1)", found=probability)
    bags, count = tokens.shape[:2]
    if count == 0:
        raise AttentionError("there are no tokens to keep", found=tuple(tokens.shape))
    if not training or probability == 0:
        return torch.ones(bags, count, dtype=torch.bool, device=tokens.device)
    draw = uniform((bags, count), tokens.device)
    # The largest draw is among those above the probability, or is kept alone where none is.
    return (draw >= probability).scatter(1, draw.argmax(1, keepdim=True), True)
