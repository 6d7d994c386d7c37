"""The transformer against torch's own encoder layers, which form the full attention matrix."""

import pytest
import torch
from torch import nn

from asmil.bags import Bag, BagBatch
from asmil.models import create_model

HEADS, DIM = 4, 32
GENERATOR = torch.Generator().manual_seed(0)
BATCH = BagBatch.from_bags(
    [Bag(torch.randn(n, 12, generator=GENERATOR, dtype=torch.float64), label=0) for n in (25, 1, 40)]
)


def make_transformer(depth):
    """A model whose norms are no identities and whose attention is far from uniform."""
    torch.manual_seed(0)
    model = create_model("transformer", in_dim=12, n_classes=3, dim=DIM, heads=HEADS, depth=depth).double().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name or "mlp.0" in name:
                parameter.add_(torch.randn_like(parameter) * 0.3)
            if "query" in name or "key" in name:
                parameter.mul_(3)
    return model


def torch_layer(state, block):
    """torch's layer with the weights of one block of ours."""
    layer = nn.TransformerEncoderLayer(
        DIM, HEADS, 4 * DIM, dropout=0, activation="gelu", batch_first=True, norm_first=True, dtype=torch.float64
    )
    names = {
        "self_attn.out_proj": "out",
        "linear1": "mlp.1",
        "linear2": "mlp.3",
        "norm1": "norm",
        "norm2": "mlp.0",
    }
    weights = {f"{a}.{kind}": state[f"{block}.{b}.{kind}"] for a, b in names.items() for kind in ("weight", "bias")}
    for kind in ("weight", "bias"):
        weights[f"self_attn.in_proj_{kind}"] = torch.cat(
            [state[f"{block}.{part}.{kind}"] for part in ("query", "key", "value")]
        )
    layer.load_state_dict(weights)
    return layer


@torch.no_grad()
def oracle_of_one_bag(state, features, *, depth):
    """Embedding, logits, scores and attention, with every token computed in every block."""
    tiles = torch.relu(features @ state["projection.linear.weight"].T + state["projection.linear.bias"])
    tokens = torch.cat([state["cls"], tiles])[None]
    for index in range(depth - 1):
        tokens = torch_layer(state, f"blocks.{index}")(tokens)
    last = torch_layer(state, "last")
    normed = last.norm1(tokens)[0]
    query = (normed[0] @ state["last.query.weight"].T + state["last.query.bias"]).reshape(HEADS, -1)
    keys = (normed[1:] @ state["last.key.weight"].T + state["last.key.bias"]).reshape(len(tiles), HEADS, -1)
    scores = torch.stack([keys[:, h] @ query[h] for h in range(HEADS)], 1) / (DIM / HEADS) ** 0.5
    not_itself = torch.zeros(len(tiles) + 1, len(tiles) + 1, dtype=torch.bool)
    not_itself[0, 0] = True
    read = last(tokens, src_mask=not_itself)[0, 0]
    embedding = nn.functional.layer_norm(read, (DIM,), state["norm.weight"], state["norm.bias"])
    logits = embedding @ state["classifier.weight"].T + state["classifier.bias"]
    return embedding, logits, scores, scores.softmax(0).mean(1)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_transformer_equals_torch_layers(depth):
    model = make_transformer(depth)
    output = model(BATCH)
    bags = [oracle_of_one_bag(model.state_dict(), features, depth=depth) for features in BATCH.split(BATCH.features)]
    embedding, logits, scores, attention = zip(*bags, strict=True)
    torch.testing.assert_close(output.embedding, torch.stack(embedding))
    torch.testing.assert_close(output.logits, torch.stack(logits))
    torch.testing.assert_close(output.scores, torch.cat(scores))
    torch.testing.assert_close(output.attention, torch.cat(attention))
    assert output.attention[-40:].max() > 2 / 40  # not the trivial, uniform map


def test_no_tile_by_tile_matrix_is_kept():
    """What autograd keeps for the backward pass is a few numbers per tile and feature."""
    tiles, sizes = 2000, []
    model = create_model("transformer", in_dim=12, n_classes=2, dim=16, heads=2).train()
    with torch.autograd.graph.saved_tensors_hooks(lambda kept: sizes.append(kept.numel()) or kept, lambda kept: kept):
        model(BagBatch.from_bags(Bag(torch.randn(tiles, 12))))
    assert tiles * 16 <= max(sizes) <= (tiles + 1) * 16 * 4
