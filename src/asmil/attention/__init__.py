"""Attention over the tiles of a bag: normalizers, anchor, stabilizer, token dropping, diagnostics.

Names are loaded when used: the diagnostics need no torch.
"""

from typing import TYPE_CHECKING

from asmil.registry import door

if TYPE_CHECKING:
    from asmil.attention.anchor import Anchor, follow
    from asmil.attention.diagnostics import (
        agreement,
        effective_tiles,
        entropy,
        is_even,
        jsd,
        jsd_between_epochs,
        normalized_entropy,
        top_k_overlap,
        top_mass,
    )
    from asmil.attention.divergence import alignment, kl_divergence, unevenness
    from asmil.attention.dropping import drop_tokens
    from asmil.attention.foreign import find_part
    from asmil.attention.layout import Dense, Packed, on_device
    from asmil.attention.normalizers import NORMALIZERS, entmax, log_nsf, log_softmax, nsf, softmax, sparsemax
    from asmil.attention.stabilizer import AttentionStabilizer
else:
    __all__, __getattr__ = door(__name__)
