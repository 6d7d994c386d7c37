"""Attention over the tiles of a bag: normalizers, anchor, stabilizer, token dropping, diagnostics."""

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

__all__ = [
    "NORMALIZERS",
    "entmax",
    "kl_divergence",
    "log_nsf",
    "log_softmax",
    "log_weights",
    "nsf",
    "segment_logsumexp",
    "segment_max",
    "segment_sum",
    "softmax",
    "sparsemax",
]
