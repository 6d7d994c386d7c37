"""Attention over the tiles of a bag: normalizers, anchor, stabilizer, token dropping, diagnostics."""

from asmil.attention.anchor import Anchor
from asmil.attention.diagnostics import (
    agreement,
    effective_tiles,
    entropy,
    jsd,
    jsd_between_epochs,
    normalized_entropy,
    top_k_overlap,
    top_mass,
)
from asmil.attention.dropping import drop_tokens
from asmil.attention.normalizers import (
    NORMALIZERS,
    entmax,
    kl_divergence,
    log_nsf,
    log_softmax,
    log_weights,
    nsf,
    softmax,
    sparsemax,
)
from asmil.attention.segments import segment_logsumexp, segment_max, segment_sum
from asmil.attention.stabilizer import AttentionStabilizer

__all__ = [
    "NORMALIZERS",
    "Anchor",
    "AttentionStabilizer",
    "agreement",
    "drop_tokens",
    "effective_tiles",
    "entmax",
    "entropy",
    "jsd",
    "jsd_between_epochs",
    "kl_divergence",
    "log_nsf",
    "log_softmax",
    "log_weights",
    "normalized_entropy",
    "nsf",
    "segment_logsumexp",
    "segment_max",
    "segment_sum",
    "softmax",
    "sparsemax",
    "top_k_overlap",
    "top_mass",
]
