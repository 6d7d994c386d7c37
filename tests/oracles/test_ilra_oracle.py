"""ILRA-MIL against its formulas in numpy, bag by bag and head by head."""

import numpy as np
import pytest
import torch

from asmil.bags import Bag, BagBatch
from asmil.models import create_model

SMALL = {"dim": 16, "heads": 2, "latents": 3, "seeds": 2, "dropout": 0}


def bags_of(*lengths):
    generator = torch.Generator().manual_seed(2)
    return [Bag(torch.randn(n, 12, generator=generator), label=i % 2) for i, n in enumerate(lengths)]


def model_of(**options):
    """A model whose norms and biases are not at their trivial start."""
    torch.manual_seed(0)
    model = create_model("ilra", in_dim=12, n_classes=3, **{**SMALL, **options})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


def softmax(x, axis):
    weights = np.exp(x - x.max(axis, keepdims=True))
    return weights / weights.sum(axis, keepdims=True)


class Oracle:
    """The text's MHB, GAB and pooling on one bag, from the weights alone."""

    def __init__(self, model, *, norm):
        self.p = {name: value.double().numpy() for name, value in model.state_dict().items()}
        self.norm = norm

    def linear(self, x, name):
        return x @ self.p[f"{name}.weight"].T + self.p.get(f"{name}.bias", 0)

    def layer_norm(self, x, name):
        if not self.norm:
            return x
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return x * self.p[f"{name}.weight"] + self.p[f"{name}.bias"]

    def block(self, queries, inputs, name, *, gated):
        q = self.linear(queries, f"{name}.fc_q")
        query, key, value = (
            self.linear(x, f"{name}.{part}") for x, part in ((q, "query"), (inputs, "key"), (inputs, "value"))
        )
        outputs, scores = [], []
        for head in range(2):
            part = slice(8 * head, 8 * head + 8)
            scores.append(query[:, part] @ key[:, part].T / np.sqrt(8))
            outputs.append(softmax(scores[-1], 1) @ value[:, part])
        out = self.layer_norm(q + self.linear(np.concatenate(outputs, 1), f"{name}.out"), f"{name}.norms.0")
        out = self.layer_norm(out + np.maximum(self.linear(out, f"{name}.fc_o"), 0), f"{name}.norms.1")
        if gated:
            gate = self.linear(queries, f"{name}.gate")
            out = out * gate / (1 + np.exp(-gate))
        return out, np.stack(scores, 1)  # (queries, heads, inputs)

    def __call__(self, features):
        x = np.maximum(self.linear(features.double().numpy(), "projection.linear"), 0)
        for layer in ("blocks.0", "blocks.1"):
            latents, _ = self.block(self.p[f"{layer}.latents"], x, f"{layer}.gather", gated=True)
            x, _ = self.block(x, latents, f"{layer}.scatter", gated=True)
        pooled, scores = self.block(self.p["seeds"], x, "pooling", gated=False)
        rows = scores.reshape(-1, len(x))
        embedding = pooled.mean(0)
        return self.linear(embedding, "classifier"), softmax(rows, 1).mean(0), embedding, rows.T


@pytest.mark.parametrize("norm", [True, False])
def test_ilra_in_numpy(norm):
    model = model_of(norm=norm).eval()
    bags = bags_of(9, 1, 40)
    output = model(BagBatch.from_bags(bags))
    oracle = Oracle(model, norm=norm)
    logits, attention, embedding, scores = zip(*(oracle(bag.features) for bag in bags), strict=True)
    for found, wanted in (
        (output.logits, np.stack(logits)),
        (output.attention, np.concatenate(attention)),
        (output.embedding, np.stack(embedding)),
        (output.scores, np.concatenate(scores)),
    ):
        np.testing.assert_allclose(found.detach().numpy(), wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())
    assert output.attention[10:].max() > 1.5 / 40  # not the uniform map, which would hide a wrong axis


def test_tiles_of_one_bag_do_not_reach_another():
    model = model_of().eval()
    first, second = bags_of(6, 5)
    alone = model(BagBatch.from_bags(first)).logits[0]
    changed = Bag(second.features * -3, label=0)
    for other in (second, changed):
        torch.testing.assert_close(model(BagBatch.from_bags([first, other])).logits[0], alone)
