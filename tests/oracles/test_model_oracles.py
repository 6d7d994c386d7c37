"""Production models against the same mathematics written out plainly."""

import numpy as np
import pytest
import torch

from asmil.bags import Bag, BagBatch
from asmil.bench import TextbookASMIL
from asmil.models import create_model


def close(found, wanted, tolerance=1e-5):
    wanted = wanted.detach()
    scale = float(wanted.abs().max().clamp(min=1))
    assert found.shape == wanted.shape
    difference = float((found.detach() - wanted).abs().max())
    assert difference <= tolerance * scale, f"{difference:.2g} apart"


def make_bags(in_dim, *lengths, dtype=torch.float32):
    generator = torch.Generator().manual_seed(5)
    return [Bag(torch.randn(n, in_dim, generator=generator, dtype=dtype), label=i % 3) for i, n in enumerate(lengths)]


def twins_of(oracle):
    """The oracle's parameters under the production names; a stacked parameter is the list of its sets."""
    named = {
        "projection.linear.weight": [oracle.projection.weight],
        "feat.tokens": [oracle.tokens],
        "cls.tokens": [oracle.cls_token],
        "classifier.weight": [oracle.classifier.weight],
        "classifier.bias": [oracle.classifier.bias],
    }
    for block, sets in (("feat", list(oracle.feat)), ("cls", [oracle.cls])):
        for layer in ("query", "key", "value", "out", "norm"):
            for kind in ("weight", "bias"):
                dot = "_" if layer == "norm" else "."
                named[f"{block}.{layer}{dot}{kind}"] = [getattr(getattr(s, layer), kind) for s in sets]
    return named


def asmil_pair(variant, **options):
    """A production model with large tokens (so that attention is far from uniform) and its textbook twin."""
    torch.manual_seed(0)
    ours = create_model(
        "asmil",
        in_dim=20,
        n_classes=3,
        dim=32,
        variant=variant,
        token_std=15.0,
        score_scale=1,
        even_start=False,
        token_drop=0,
        dropout=0,
        feature_dropout=0,
        **options,
    )
    with torch.no_grad():
        for name, parameter in ours.named_parameters():
            if "norm" in name:  # else ones and zeros: a swapped set would not show
                parameter.add_(torch.randn_like(parameter) * 0.3)
    oracle = TextbookASMIL(20, 3, dim=32, shared=variant == "shared", dropout=0, **options)
    twins, state = twins_of(oracle), dict(ours.named_parameters())
    assert twins.keys() == state.keys()
    with torch.no_grad():
        for name, sets in twins.items():
            values = state[name] if state[name].dim() > sets[0].dim() else [state[name]]
            for parameter, value in zip(sets, values, strict=True):
                parameter.copy_(value)
    return ours, oracle


@pytest.mark.parametrize("variant", ["shared", "per_token"])
@pytest.mark.parametrize("options", [{}, {"tokens": 3, "heads": 4}, {"tokens": 1, "heads": 1}], ids=str)
def test_asmil_equals_textbook(variant, options):
    ours, oracle = asmil_pair(variant, **options)
    bags = make_bags(20, 17, 1, 300)
    output = ours(BagBatch.from_bags(bags))
    logits, attention, scores = zip(*(oracle(bag.features) for bag in bags), strict=True)
    close(output.logits, torch.cat(logits))
    close(output.attention, torch.cat(attention))
    close(output.scores, torch.cat(scores))
    assert output.attention[18:].max() > 2 / 300  # not the trivial, uniform map


@pytest.mark.parametrize("variant", ["shared", "per_token"])
def test_asmil_gradients_equal_textbook(variant):
    ours, oracle = asmil_pair(variant)
    bags = make_bags(20, 40, 7)
    output = ours(BagBatch.from_bags(bags))
    # The scores take part, so that the key bias (without effect under softmax) has a gradient to compare.
    (output.logits.pow(2).sum() + output.attention.pow(2).sum() + output.scores.sigmoid().sum()).backward()
    for bag in bags:
        logits, attention, scores = oracle(bag.features)
        (logits.pow(2).sum() + attention.pow(2).sum() + scores.sigmoid().sum()).backward()
    twins = twins_of(oracle)
    for name, parameter in ours.named_parameters():
        grads = [p.grad for p in twins[name]]
        wanted = torch.stack(grads) if parameter.dim() > grads[0].dim() else grads[0]
        close(parameter.grad, wanted)
        if name != "cls.key.bias":
            assert wanted.abs().max() > 1e-4, f"{name}: nothing compared"


def test_asmil_equals_torch_multihead_attention():
    """The shared block is torch's own MultiheadAttention followed by LayerNorm."""
    torch.manual_seed(1)
    model = (
        create_model("asmil", in_dim=20, n_classes=2, dim=32, token_std=1.0, score_scale=1, even_start=False)
        .eval()
        .double()
    )
    bag = make_bags(20, 50, dtype=torch.float64)[0]
    block = model.feat
    theirs = torch.nn.MultiheadAttention(32, 8, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        layers = (block.query, block.key, block.value)
        theirs.in_proj_weight.copy_(torch.cat([layer.weight[0] for layer in layers]))
        theirs.in_proj_bias.copy_(torch.cat([layer.bias[0] for layer in layers]))
        theirs.out_proj.weight.copy_(block.out.weight[0])
        theirs.out_proj.bias.copy_(block.out.bias[0])
    tiles = torch.relu(bag.features @ model.projection.linear.weight.T)
    tokens, weights = theirs(block.tokens[None], tiles[None], tiles[None])
    output = model(BagBatch.from_bags(bag))
    close(output.attention, weights[0].mean(0), 1e-12)
    read = block.read((output.scores.softmax(0).T @ tiles)[None])
    close(read, torch.nn.functional.layer_norm(tokens, (32,), eps=1e-6), 1e-9)


def test_token_dropping_is_leaving_tokens_out():
    """What the class token reads with tokens dropped is what it reads when they never existed."""
    model = create_model(
        "asmil",
        in_dim=20,
        n_classes=2,
        dim=32,
        tokens=5,
        token_drop=0.5,
        dropout=0,
        feature_dropout=0,
        even_start=False,
    )
    model.train()
    batch = BagBatch.from_bags(make_bags(20, 30))
    torch.manual_seed(3)
    logits = model(batch).logits.detach()
    state, all_tokens = model.state_dict(), model.feat.tokens.detach()
    candidates = []
    for chosen in range(1, 2**5):
        kept = [i for i in range(5) if chosen >> i & 1]
        smaller = create_model("asmil", in_dim=20, n_classes=2, dim=32, tokens=len(kept), dropout=0).eval()
        smaller.load_state_dict({**state, "feat.tokens": all_tokens[kept]})
        candidates.append(float((smaller(batch).logits.detach() - logits).abs().max()))
    assert min(candidates) < 1e-6
    assert sorted(candidates)[1] > 1e-4  # and only one subset explains it


@pytest.mark.parametrize("gated", [True, False])
def test_abmil_in_numpy(gated):
    torch.manual_seed(0)
    model = create_model("abmil", in_dim=12, n_classes=3, dim=16, hidden=8, gated=gated).eval()
    p = {name: value.double().numpy() for name, value in model.state_dict().items()}
    bag = make_bags(12, 25)[0]

    def linear(x, name):
        return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    h = np.maximum(linear(bag.features.double().numpy(), "projection.linear"), 0)
    hidden = np.tanh(linear(h, "tanh"))
    if gated:
        hidden = hidden / (1 + np.exp(-linear(h, "gate")))
    scores = linear(hidden, "score")
    attention = np.exp(scores[:, 0]) / np.exp(scores[:, 0]).sum()
    output = model(BagBatch.from_bags(bag))
    close(output.scores.double(), torch.from_numpy(scores))
    close(output.attention.double(), torch.from_numpy(attention))
    close(output.logits.double()[0], torch.from_numpy(linear(attention @ h, "classifier")))


@pytest.mark.parametrize("name", ["mean", "max", "max-instance"])
def test_pooling_in_numpy(name):
    torch.manual_seed(0)
    options = {"level": "instance"} if name == "max-instance" else {}
    model = create_model(name.split("-")[0], in_dim=12, n_classes=3, dim=16, **options).eval()
    p = {key: value.double().numpy() for key, value in model.state_dict().items()}
    bag = make_bags(12, 25)[0]
    x = bag.features.double().numpy()
    h = np.maximum(x @ p["projection.linear.weight"].T + p["projection.linear.bias"], 0)

    def classify(z):
        return z @ p["classifier.weight"].T + p["classifier.bias"]

    logits, columns = {
        "mean": lambda: (classify(h.mean(0)), None),
        "max": lambda: (classify(h.max(0)), h),
        "max-instance": lambda: (classify(h).max(0), classify(h)),
    }[name]()
    attention = np.full(25, 1 / 25) if columns is None else np.zeros(25)
    for column in [] if columns is None else columns.T:
        winners = np.flatnonzero(column == column.max())
        attention[winners] += 1 / len(winners) / columns.shape[1]
    output = model(BagBatch.from_bags(bag))
    close(output.logits.double()[0], torch.from_numpy(logits))
    close(output.attention.double(), torch.from_numpy(attention))
    assert output.scores is None
