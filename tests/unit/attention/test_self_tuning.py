"""Beta that tunes itself: the alignment's gradient stays below a share of the task's."""

import pytest
import torch

from asmil.attention import AttentionStabilizer
from asmil.errors import AttentionError


def test_beta_tunes_itself_down_to_the_largest_gradient_ratio():
    """A large beta is cut to the ratio asked for; a small one is left as it is."""
    torch.manual_seed(0)
    found = {}
    for beta in (1e3, 1e-6):
        model = torch.nn.Linear(6, 2)
        stabilizer = AttentionStabilizer(model, scores=lambda z: z, tile_dim=0, beta=beta, max_gradient_ratio=0.25)
        task = model(torch.randn(20, 6)).softmax(0).square().sum()
        stabilizer.loss(task)
        found[beta] = stabilizer.gradient_ratio(task), stabilizer.statistics()["beta"]
    assert found[1e3][0] == pytest.approx(0.25, rel=1e-4)
    assert found[1e3][1] < 1e3
    assert found[1e-6][0] < 0.25
    assert found[1e-6][1] == 1e-6


def test_a_largest_ratio_needs_the_loss_of_the_task():
    model = torch.nn.Linear(6, 2)
    stabilizer = AttentionStabilizer(model, scores=lambda z: z, tile_dim=0, max_gradient_ratio=0.25)
    model(torch.randn(20, 6))
    with pytest.raises(AttentionError, match="task's loss"):
        stabilizer.loss()


def test_training_keeps_the_ratio():
    """From the flag to every epoch's log."""
    from asmil.bags import make_bags
    from asmil.settings import Settings
    from asmil.settings.inputs import recipe_of
    from asmil.training import fit

    bags = make_bags(12)[0]
    recipe = recipe_of(Settings(model="abmil", beta=5e4, max_gradient_ratio=0.2, epochs=4, device="cpu"))
    model = recipe.build(in_dim=bags[0].features.shape[1], n_classes=2, train=bags, seed=0)
    stabilizer = recipe.stabilize(model, bags[0])
    result = fit(model, bags[:8], bags[8:], settings=recipe.settings, stabilizer=stabilizer)
    ratios = [row["gradient_ratio"] for row in result.history]
    assert max(ratios) == pytest.approx(0.2, rel=1e-3)
    assert min(row["beta"] for row in result.history) < 5e4
