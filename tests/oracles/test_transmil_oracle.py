"""TransMIL in plain numpy, every attention as a whole matrix, every convolution as a loop."""

import math

import numpy as np
import torch

from asmil.bags import Bag, BagBatch
from asmil.models import create_model
from asmil.models.parts.nystrom import NystromAttention, Segments

# 30 tiles: 37 tokens in segments of 3, so 13 of 16 landmarks; 1 and 5: fewer tokens than landmarks; 77: 82 tokens.
LENGTHS = (30, 1, 5, 77)
HEADS, LANDMARKS = 4, 16
BAGS = [Bag(torch.from_numpy(np.random.default_rng(n).normal(size=(n, 12))), label=0) for n in LENGTHS]


def under(p, prefix):
    return {key.removeprefix(prefix + "."): value for key, value in p.items() if key.startswith(prefix + ".")}


def normed(p, x):
    x = x - x.mean(1, keepdims=True)
    return x / np.sqrt((x**2).mean(1, keepdims=True) + 1e-5) * p["weight"] + p["bias"]


def depthwise(p, square):
    """One depth-wise convolution of a (side, side, dim) square, zeros around it."""
    kernel = p["weight"][:, 0]
    size, side = kernel.shape[-1], len(square)
    out = np.zeros_like(square) + p["bias"]
    for y in range(side):
        for x in range(side):
            for i in range(size):
                for j in range(size):
                    row, column = y + i - size // 2, x + j - size // 2
                    if 0 <= row < side and 0 <= column < side:
                        out[y, x] = out[y, x] + kernel[:, i, j] * square[row, column]
    return out


def transmil_of_one_bag(p, features, nystrom):
    """Logits, map and scores (tiles, heads x landmarks)."""
    h = np.maximum(features @ p["projection.linear.weight"].T + p["projection.linear.bias"], 0)
    n, side = len(h), math.ceil(math.sqrt(len(h)))
    x = np.concatenate([p["cls"], h, h[: side**2 - n]])
    x = x + nystrom(under(p, "first"), normed(under(p, "first_norm"), x), heads=HEADS, landmarks=LANDMARKS)[0]
    square = x[1:].reshape(side, side, -1)
    convolved = sum(depthwise(under(p, f"position.{name}"), square) for name in ("large", "middle", "small"))
    x = np.concatenate([x[:1], (square + convolved).reshape(side**2, -1)])
    attended, matrices, rows = nystrom(
        under(p, "last"), normed(under(p, "last_norm"), x), heads=HEADS, landmarks=LANDMARKS
    )
    cls = normed(under(p, "norm"), x + attended)[0]
    attention = np.zeros(n)
    for token, weight in enumerate(matrices.mean(0)[0][1:]):
        attention[token if token < n else token - n] += weight
    attention = np.maximum(attention, 0)
    attention = attention / attention.sum() if attention.sum() > 0 else np.full(n, 1 / n)
    scores = [rows[head, column % rows.shape[1], 1 : n + 1] for head in range(HEADS) for column in range(LANDMARKS)]
    return cls @ p["classifier.weight"].T + p["classifier.bias"], attention, np.stack(scores, 1)


def make_model(**options):
    torch.manual_seed(0)
    model = create_model("transmil", in_dim=12, n_classes=3, dim=32, heads=HEADS, landmarks=LANDMARKS, **options)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:  # else ones and zeros: a swapped one would not show
                parameter.add_(torch.randn_like(parameter) * 0.3)
            elif "query_key" in name:  # far from uniform
                parameter.mul_(4)
    return model.double()


def test_transmil_in_numpy(plain_nystrom):
    model = make_model().eval()
    p = {key: value.numpy() for key, value in model.state_dict().items()}
    batch = BagBatch.from_bags(BAGS)
    with torch.no_grad():
        output = model(batch)
    for bag, attention, scores, logits in zip(
        BAGS, batch.split(output.attention), batch.split(output.scores), output.logits, strict=True
    ):
        wanted = transmil_of_one_bag(p, bag.features.numpy(), plain_nystrom)
        np.testing.assert_allclose(logits, wanted[0], atol=1e-9)
        np.testing.assert_allclose(attention, wanted[1], atol=1e-9)
        np.testing.assert_allclose(scores, wanted[2], atol=1e-9)
    assert output.attention[-77:].max() > 2 / 77  # not the trivial, uniform map
    assert (output.attention == 0).any()  # some of it was negative and clamped


def test_one_landmark_per_token_is_softmax_attention():
    """As many landmarks as tokens: the three factors multiply to softmax attention, up to the inverse's error."""
    torch.manual_seed(0)
    layer = NystromAttention(32, heads=4, landmarks=48, dropout=0.0).double()
    x = torch.randn(48, 32, dtype=torch.float64)
    with torch.no_grad():
        layer.residual.weight.zero_()
        layer.query_key.weight.mul_(8)  # well conditioned, so that 6 iterations invert it
        query, key = (y.unflatten(1, (4, 8)).transpose(0, 1) for y in layer.query_key(x).chunk(2, dim=1))
        value = layer.value(x).unflatten(1, (4, 8)).transpose(0, 1)
        attended = torch.nn.functional.scaled_dot_product_attention(query, key, value)
        wanted = layer.out(attended.transpose(0, 1).flatten(1))
        out = layer(x[None], Segments.of([48], landmarks=48, like=x))[0]
        assert (out - wanted).norm() < 0.02 * (wanted - layer.out.bias).norm()
