"""Attention over the tiles of a bag: normalizers, anchor, stabilizer, token dropping, diagnostics."""

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

__all__ = [
    "NORMALIZERS",
    "Anchor",
    "AttentionStabilizer",
    "Dense",
    "Packed",
    "agreement",
    "alignment",
    "drop_tokens",
    "effective_tiles",
    "entmax",
    "entropy",
    "find_part",
    "follow",
    "is_even",
    "jsd",
    "jsd_between_epochs",
    "kl_divergence",
    "log_nsf",
    "log_softmax",
    "normalized_entropy",
    "nsf",
    "on_device",
    "softmax",
    "sparsemax",
    "top_k_overlap",
    "top_mass",
    "unevenness",
]
