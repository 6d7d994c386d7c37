"""Weights under the names of the authors' script: our model computes what their module does, written out plainly."""

import math

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from asmil.bags import Bag, BagBatch
from asmil.models import load_published


class Attend(nn.Module):
    """One query looks at (inputs, dim): keys and values of all inputs, head by head."""

    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(dim, dim) for _ in range(4))
        self.layer_norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, query, inputs):
        q, k, v = self.q_proj(query), self.k_proj(inputs), self.v_proj(inputs)
        width, parts, rows = len(q) // self.heads, [], []
        for head in range(self.heads):
            own = slice(head * width, (head + 1) * width)
            rows.append(k[:, own] @ q[own] / math.sqrt(width))
            parts.append(torch.softmax(rows[-1], 0) @ v[:, own])
        return self.layer_norm(self.out_proj(torch.cat(parts))), torch.stack(rows)


class Published(nn.Module):
    """Their module by its parameters' names, at inference: all tokens, no dropout; what it never uses is there too."""

    def __init__(self, in_dim, classes, *, dim, tokens, heads):
        super().__init__()
        head = nn.Linear(dim, classes)
        self.dimreduction = nn.ModuleDict({"fc1": nn.Linear(in_dim, dim, bias=False), "bn": nn.LayerNorm(dim)})
        self.q = nn.Parameter(torch.randn(1, tokens, dim) * 3)
        self.cls = nn.Parameter(torch.randn(1, 1, dim) * 3)
        self.sub_attention = nn.ModuleList(Attend(dim, heads) for _ in range(tokens))
        self.bag_attention = Attend(dim, heads)
        self.classifier = nn.ModuleList(nn.ModuleDict({"fc": nn.Linear(dim, classes)}) for _ in range(tokens))
        self.Slide_classifier = nn.ModuleDict({"fc": head})

    def forward(self, features):
        """Logits (classes,), scores (tokens, heads, tiles)."""
        tiles = torch.relu(self.dimreduction["fc1"](features))
        pairs = [attend(query, tiles) for attend, query in zip(self.sub_attention, self.q[0], strict=True)]
        tokens, scores = zip(*pairs, strict=True)
        slide, _ = self.bag_attention(self.cls[0, 0], torch.stack(tokens))
        return self.Slide_classifier["fc"](slide), torch.stack(scores)


SIZES = [(20, 3, {"dim": 32, "tokens": 8, "heads": 8}), (11, 2, {"dim": 12, "tokens": 3, "heads": 2})]
SIZES.append((7, 1, {"dim": 4, "tokens": 1, "heads": 1}))


def make(in_dim, classes, options):
    torch.manual_seed(4)
    theirs = Published(in_dim, classes, **options)
    with torch.no_grad():
        for parameter in theirs.parameters():  # also norms: ones and zeros would hide a swap
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return theirs


def written(theirs, path, form):
    """The file, as `form` says; the suffix is what a user would give it."""
    state = theirs.state_dict()
    if form == "safetensors":
        save_file({name: value.contiguous() for name, value in state.items()}, path / "w.safetensors")
        return path / "w.safetensors"
    content = {
        "pt": state,
        "model": {"model": state, "epoch": 3, "optimizer": {"state": {}}},
        "state_dict": {"state_dict": state},
        "parallel": {f"module.{name}": value for name, value in state.items()},
    }[form]
    torch.save(content, path / "w.pt")
    return path / "w.pt"


def close(found, wanted):
    assert found.shape == wanted.shape
    assert float((found - wanted).detach().abs().max()) <= 1e-6 * max(1.0, float(wanted.detach().abs().max()))


@pytest.mark.parametrize("form", ["safetensors", "pt", "model", "state_dict", "parallel"])
@pytest.mark.parametrize("sizes", SIZES, ids=lambda sizes: str(sizes[2]))
def test_a_loaded_model_is_their_module(tmp_path, form, sizes):
    theirs = make(*sizes)
    ours = load_published(written(theirs, tmp_path, form), heads=sizes[2]["heads"])
    assert not ours.training
    theirs, ours = theirs.double(), ours.double()
    bags = [Bag(torch.randn(n, sizes[0], dtype=torch.float64)) for n in (40, 1, 9)]
    output = ours(BagBatch.from_bags(bags))
    ends = torch.tensor([len(bag) for bag in bags]).cumsum(0)[:-1]
    pairs = zip(output.scores.tensor_split(ends), output.attention.tensor_split(ends), strict=True)
    for bag, logits, (scores, attention) in zip(bags, output.logits, pairs, strict=True):
        wanted_logits, wanted_scores = theirs(bag.features)
        close(logits, wanted_logits)
        close(scores, wanted_scores.flatten(0, 1).T)  # token by token, within it head by head
        close(attention, wanted_scores.softmax(-1).mean((0, 1)))
    assert float(output.attention[:40].detach().max()) > 2 / 40  # no uniform map, which would hide much


def test_gradients_are_theirs(tmp_path):
    theirs = make(*SIZES[0])
    ours = load_published(written(theirs, tmp_path, "pt")).double()
    theirs = theirs.double()
    bags = [Bag(torch.randn(n, 20, dtype=torch.float64)) for n in (30, 5)]
    output = ours(BagBatch.from_bags(bags))
    (output.logits.pow(2).sum() + output.attention.pow(2).sum() + output.scores.sigmoid().sum()).backward()
    for bag in bags:
        logits, scores = theirs(bag.features)
        attention = scores.softmax(-1).mean((0, 1))
        (logits.pow(2).sum() + attention.pow(2).sum() + scores.sigmoid().sum()).backward()

    def stacked(pick):
        return torch.stack([pick(block).grad for block in theirs.sub_attention])

    wanted = {
        "projection.linear.weight": theirs.dimreduction["fc1"].weight.grad,
        "feat.tokens": theirs.q.grad[0],
        "cls.tokens": theirs.cls.grad[0],
        "classifier.weight": theirs.Slide_classifier["fc"].weight.grad,
        "classifier.bias": theirs.Slide_classifier["fc"].bias.grad,
    }
    names = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "out": "out_proj", "norm": "layer_norm"}
    for layer, name in names.items():
        for kind in ("weight", "bias"):
            end = f"norm_{kind}" if layer == "norm" else f"{layer}.{kind}"
            wanted[f"feat.{end}"] = stacked(lambda block, n=name, k=kind: getattr(getattr(block, n), k))
            wanted[f"cls.{end}"] = getattr(getattr(theirs.bag_attention, name), kind).grad[None]
    found = dict(ours.named_parameters())
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        close(found[name].grad, gradient)
        if name != "cls.key.bias":  # shifts a whole row of the softmax
            assert float(gradient.abs().max()) > 1e-4, f"{name}: nothing compared"
