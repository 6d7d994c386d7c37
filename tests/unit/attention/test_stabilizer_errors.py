"""What the stabilizer says when its options or the model's scores are not as they should be."""

import pytest
import torch

from asmil.attention import AttentionStabilizer
from asmil.errors import AttentionError, UnknownPartError

TILES = torch.randn(30, 5, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("name", ["attention_net.3.atention_c", "attention_c", "net.3"])
def test_an_unknown_submodule_names_its_neighbours(toys, name):
    with pytest.raises(AttentionError, match=r"attention_net\.3"):
        AttentionStabilizer(toys.ClamLike(), scores=name)


def test_wrong_options_say_what_to_do(toys):
    model = toys.ClamLike()
    with pytest.raises(AttentionError, match="some weight"):
        AttentionStabilizer(model, online_normalizer="sparsemax")
    with pytest.raises(UnknownPartError, match="sparsemax"):
        AttentionStabilizer(model, anchor_normalizer="sparsmax")
    with pytest.raises(AttentionError, match="kind of anchor"):
        AttentionStabilizer(model, anchor="none")
    with pytest.raises(AttentionError, match="anchor init"):
        AttentionStabilizer(model, init="zeros")
    with pytest.raises(AttentionError, match="momentum"):
        AttentionStabilizer(model, momentum=1.5)
    with pytest.raises(AttentionError, match="float32"):
        AttentionStabilizer(toys.ClamLike().bfloat16())
    assert not model._forward_hooks


@pytest.mark.parametrize(
    ("scores", "tile_dim", "message"),
    [
        ("auto", None, "no scores"),
        ("attention_net.3", None, "floating-point tensor"),
        (lambda output: output[2], None, "floating-point tensor"),
        (lambda output: output[3], 2, "no axis"),
    ],
)
def test_scores_that_are_not_there(toys, scores, tile_dim, message):
    model = toys.ClamLike().train()
    stabilizer = AttentionStabilizer(model, scores=scores, tile_dim=tile_dim)
    with pytest.raises(AttentionError, match=message):  # noqa: PT012 - the forward or the loss may notice
        model(TILES)
        stabilizer.loss()


def test_rows_taken_for_tiles_are_noticed(toys):
    model = toys.ClamLike(rows=1).train()
    stabilizer = AttentionStabilizer(model, scores=lambda output: output[3].T)
    model(TILES)
    with pytest.warns(UserWarning, match="set tile_dim"):
        stabilizer.loss()
