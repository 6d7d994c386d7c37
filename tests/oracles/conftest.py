"""Plain numpy forms that several oracles need."""

import numpy as np
import pytest


def softmax(logits):
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def masked_softmax(logits, mask):
    """Softmax over the last axis among the columns of the mask; rows and columns outside it are 0."""
    rows, columns = mask
    weights = np.zeros_like(logits)
    weights[np.ix_(rows, columns)] = softmax(logits[np.ix_(rows, columns)])
    return weights


def inverse_by_iteration(a):
    z = a.T / (np.abs(a).sum(0).max() * np.abs(a).sum(1).max())
    one = np.eye(len(a))
    for _ in range(6):
        z = 0.25 * z @ (13 * one - a @ z @ (15 * one - a @ z @ (7 * one - a @ z)))
    return z


@pytest.fixture(scope="session")
def plain_nystrom():
    """Nystrom attention with zeros in front, masked, and the whole (tokens x tokens) matrix of each head.

    Returns the output (tokens, dim), the matrices and the landmarks' scores, one per head.
    """

    def nystrom(p, x, *, heads, landmarks):
        n, dim = x.shape
        width = dim // heads
        m = min(landmarks, n)
        size = -(-n // m)
        pad = size * m - n
        x = np.concatenate([np.zeros((pad, dim)), x])
        real = np.arange(len(x)) >= pad
        q, k = np.split(x @ p["query_key.weight"].T, 2, axis=1)
        v = x @ p["value.weight"].T
        counts = real.reshape(m, size).sum(1)
        used = counts > 0
        merged, matrices, scores = np.empty((n, dim)), [], []
        for head in range(heads):
            qh, kh, vh = (y[:, head * width : (head + 1) * width] for y in (q / np.sqrt(width), k, v))
            q_mean, k_mean = (y.reshape(m, size, width).sum(1) / np.maximum(counts, 1)[:, None] for y in (qh, kh))
            a1 = masked_softmax(qh @ k_mean.T, (real, used))
            a2 = masked_softmax(q_mean @ k_mean.T, (used, used))
            a3 = masked_softmax(q_mean @ kh.T, (used, real))
            matrix = (a1 @ inverse_by_iteration(a2) @ a3)[pad:, pad:]
            kernel = p["residual.weight"][head, 0, :, 0]
            out = matrix @ vh[pad:]
            for i in range(n):
                for tap in range(33):
                    j = i + tap - 16
                    if 0 <= j < n:
                        out[i] = out[i] + kernel[tap] * vh[pad + j]
            merged[:, head * width : (head + 1) * width] = out
            matrices.append(matrix)
            scores.append((q_mean @ kh.T)[used][:, pad:])
        return merged @ p["out.weight"].T + p["out.bias"], np.stack(matrices), np.stack(scores)

    return nystrom
