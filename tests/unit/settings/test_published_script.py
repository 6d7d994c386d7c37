"""The settings of the authors' published script: their loss, written out."""

from pathlib import Path

import numpy as np
import pytest
import torch

from asmil.bags import BagBatch, make_bags
from asmil.cli.parts import typed
from asmil.errors import ConfigError
from asmil.settings import load_settings
from asmil.settings.inputs import recipe_of

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "published_script.yaml"


@pytest.fixture(scope="module")
def trained():
    """Model and stabiliser of the example after three steps, with the last loss, its batch and the online scores."""
    recipe = recipe_of(load_settings(EXAMPLE, {"device": "cpu"}))
    bags, _ = make_bags(4, tiles=(12, 30), dim=10)
    model = recipe.build(in_dim=10, n_classes=2, train=bags, seed=0)
    stabilizer = recipe.stabilize(model, bags[0], seed=0)
    start = [p.clone() for p in stabilizer.anchor.module.parameters()]
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for bag in bags[:3]:
        batch = BagBatch.from_bags(bag)
        output = model.train()(batch)
        loss = stabilizer.loss()
        optimizer.zero_grad()
        (torch.nn.functional.cross_entropy(output.logits, batch.labels) + loss).backward()
        optimizer.step()
        stabilizer.update()
    return recipe, model, stabilizer, {"start": start, "loss": loss.item(), "batch": batch, "scores": output.scores}


def test_the_loss_is_the_scripts(trained):
    _, _, stabilizer, last = trained
    online = last["scores"].detach().double().numpy()
    anchored = stabilizer.anchor.module(last["batch"]).scores.double().numpy()
    total = 0.0
    for row in range(online.shape[1]):  # a token and a head
        target = 1 / (1 + np.exp(-anchored[:, row]))
        target /= target.sum()
        softmax = np.exp(online[:, row]) / np.exp(online[:, row]).sum()
        total += np.mean(target * np.log(target / softmax))
    assert last["loss"] == pytest.approx(total / online.shape[1], rel=1e-4, abs=1e-8)  # single precision
    assert last["loss"] > 1e-7


def test_the_anchor_has_weights_of_its_own_and_keeps_them(trained):
    recipe, model, stabilizer, last = trained
    anchored = dict(stabilizer.anchor.module.named_parameters())
    for before, (name, parameter) in zip(last["start"], anchored.items(), strict=True):
        assert torch.equal(before, parameter), name
        if "norm" not in name:  # ones and zeros, however drawn
            assert not torch.equal(parameter, model.get_parameter(name)), name
    bags, _ = make_bags(4, tiles=(12, 30), dim=10)
    fresh = recipe.build(in_dim=10, n_classes=2, train=bags, seed=0)
    torch.manual_seed(99)  # no matter which random numbers were drawn elsewhere
    again, other = (recipe.stabilize(fresh, bags[0], seed=s).anchor.module for s in (0, 1))
    for name, parameter in anchored.items():
        assert torch.equal(parameter, again.get_parameter(name))
        if "norm" not in name:
            assert not torch.equal(fresh.get_parameter(name), parameter), name
            assert not torch.equal(other.get_parameter(name), parameter), name


def test_the_preset_is_the_file():
    said, wanted = load_settings(None, {"preset": "published-script"}), load_settings(EXAMPLE)
    assert said.model_copy(update={"preset": None}) == wanted


def test_what_is_given_goes_before_a_preset():
    settings = load_settings(None, {"preset": "paper", "beta": 0.2, "model_options": {"tokens": 4}})
    assert (settings.beta, settings.anchor_gated, settings.learning_rate) == (0.2, False, 1e-4)
    assert settings.model_options == {
        "tokens": 4, "token_std": 0.02, "feature_dropout": 0,
        "score_scale": 1, "first_scale": None, "even_start": False,
    }  # fmt: skip


def test_flags_say_the_same_as_the_file():
    flags = {"anchor": "frozen", "anchor_init": "independent", "reduction": "mean", "model": "asmil"}
    flags["anchor_gated"] = False
    options = ["variant=per_token", "token_std=1e-6"]
    config = load_settings(None, typed(flags | {"model_options": options}))
    stabilizer, wanted = recipe_of(config).stabilizer, recipe_of(load_settings(EXAMPLE)).stabilizer
    assert stabilizer | {"beta": 1.0} == wanted
    assert config.model_options == {"variant": "per_token", "token_std": 1e-6}


@pytest.mark.parametrize("preset", ["paper", "published-script"])
def test_a_preset_of_asmil_is_of_no_other_model(preset):
    """Its options would be refused by the other model, which says nothing of where they come from."""
    with pytest.raises(ConfigError, match=f"preset {preset} is of the model asmil, not of abmil: leave one out"):
        load_settings(None, {"preset": preset, "model": "abmil"})
    assert load_settings(None, {"preset": preset, "model": "ASMIL"}).model == "ASMIL"
