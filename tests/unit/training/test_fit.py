"""`fit`: it learns, it repeats bit for bit, it resumes bit-equal, and only validation chooses."""

import dataclasses

import pytest
import torch

from asmil.attention import AttentionStabilizer
from asmil.bags import Bag, make_bags
from asmil.errors import AsmilError, CohortError, RunError
from asmil.models import create_model
from asmil.training import AttentionRecorder, Standardized, TrainSettings, fit, predict
from asmil.training.optim import learning_rate, refit_settings, weight_decay_of

SETTINGS = TrainSettings(epochs=8, batch_size=4, min_steps=0, patience=50, checkpoint_seconds=0)


@pytest.fixture(scope="module")
def bags() -> list[Bag]:
    return make_bags(40, tiles=(5, 40), dim=16, shift=4.0, seed=1)[0]


def build(name: str = "abmil", seed: int = 0, **options) -> torch.nn.Module:
    torch.manual_seed(seed)
    return create_model(name, in_dim=16, n_classes=2, **options)


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


class Stop(Exception):
    """Raised by a listener to end training as a crash would."""


def stop_after(epoch: int):
    def listener(event, **values):
        if event == "epoch" and values["epoch"] == epoch:
            raise Stop

    return listener


@pytest.mark.parametrize("name", ["asmil", "abmil"])
def test_it_learns_planted_tiles(name, bags):
    model = build(name)
    stabilizer = AttentionStabilizer(model, beta=0.1)
    settings = dataclasses.replace(SETTINGS, epochs=25, learning_rate=3e-3)
    result = fit(model, bags[:24], bags[24:32], settings=settings, stabilizer=stabilizer)
    correct = [
        p.probabilities.argmax() == bag.label for p, bag in zip(predict(model, bags[32:]), bags[32:], strict=True)
    ]
    assert sum(correct) >= 7
    assert result.history[-1]["train_loss"] < result.history[0]["train_loss"]
    assert {"kl", "beta", "gradient_ratio"} <= result.history[0].keys()


def test_same_seed_same_bits_and_other_seed_others(bags):
    trained = []
    for seed in (3, 3, 4):
        model = build("asmil")
        fit(model, bags[:16], bags[16:24], settings=SETTINGS, seed=seed, stabilizer=AttentionStabilizer(model))
        trained.append(model)
    assert same(trained[0], trained[1])
    assert not same(trained[0], trained[2])


def test_bags_to_predict_may_come_one_by_one(bags):
    model = create_model("mean", in_dim=bags[0].features.shape[1], n_classes=2)
    one_by_one = [found.probabilities.tolist() for found in predict(model, iter(bags[:3]))]
    assert one_by_one == [found.probabilities.tolist() for found in predict(model, bags[:3])]


def test_callers_random_state_is_left_alone(bags):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    model = build("asmil")
    torch.set_rng_state(before)
    fit(model, bags[:8], bags[8:12], settings=SETTINGS)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("tiles_per_bag", [None, 6])
def test_resumed_run_is_bit_equal_to_an_unbroken_one(bags, tmp_path, tiles_per_bag):
    settings = dataclasses.replace(SETTINGS, tiles_per_bag=tiles_per_bag)

    def run(checkpoint, *extra):
        model, recorder = build("asmil"), AttentionRecorder()
        stabilizer = AttentionStabilizer(model, momentum=0.9)
        result = fit(
            model, bags[:16], bags[16:24], settings=settings, stabilizer=stabilizer,
            listeners=(recorder, *extra), checkpoint=checkpoint, seed=2,
        )  # fmt: skip
        return model, stabilizer, recorder, result

    whole = run(None)
    with pytest.raises(Stop):
        run(tmp_path / "c.pt", stop_after(5))
    resumed = run(tmp_path / "c.pt")
    assert same(whole[0], resumed[0])
    assert same(whole[1].anchor.module, resumed[1].anchor.module)
    recorded = [x[2].state_dict()["kept"] for x in (whole, resumed)]
    assert all(torch.equal(recorded[0][s], recorded[1][s]) for s in recorded[0])
    assert repr(whole[3].history) == repr(resumed[3].history)


def test_checkpoint_of_another_seed_is_refused(bags, tmp_path):
    with pytest.raises(Stop):
        fit(
            build(),
            bags[:8],
            bags[8:12],
            settings=SETTINGS,
            checkpoint=tmp_path / "c.pt",
            listeners=[stop_after(3)],
        )
    with pytest.raises(RunError, match="another run"):
        fit(build(), bags[:8], bags[8:12], settings=SETTINGS, checkpoint=tmp_path / "c.pt", seed=1)


def test_the_kept_epoch_is_the_best_on_validation(bags):
    model = build()
    settings = dataclasses.replace(SETTINGS, epochs=30, learning_rate=1e-2)
    result = fit(model, bags[:16], bags[16:24], settings=settings)
    losses = [row["val_loss"] for row in result.history]
    assert result.best_epoch == losses.index(min(losses))
    kept = [p.loss for p in predict(model, bags[16:24])]
    assert sum(kept) / len(kept) == pytest.approx(min(losses), rel=1e-6)


def test_early_stopping_waits_for_patience_and_min_steps(bags):
    noise = [dataclasses.replace(bag, label=i % 2) for i, bag in enumerate(make_bags(24, dim=16, shift=0.0)[0])]
    settings = dataclasses.replace(SETTINGS, epochs=60, learning_rate=1e-2, patience=3, min_steps=20, warmup_epochs=0)
    result = fit(build(), noise[:16], noise[16:], settings=settings)  # four steps an epoch
    assert len(result.history) == max(5, result.best_epoch + 1 + 3) < 60
    longer = fit(build(), noise[:16], noise[16:], settings=dataclasses.replace(settings, min_steps=120))
    assert len(longer.history) == 30


def test_without_epochs_training_lasts_the_least_steps():
    settings = TrainSettings()
    assert settings.planned(64).epochs == 113  # of 16 steps: the least that are 1,800
    assert settings.planned(7).epochs == 900
    assert settings.planned(4000).epochs == 40
    assert dataclasses.replace(settings, epochs=3).planned(7).epochs == 3


def test_weight_decay_is_the_settings_or_the_models_own():
    class Decaying(torch.nn.Linear):
        WEIGHT_DECAY = 3.0

    plain, own = torch.nn.Linear(4, 2), Decaying(4, 2)
    assert [weight_decay_of(m, None) for m in (plain, own, Standardized(own, 4))] == [0.01, 3.0, 3.0]
    assert weight_decay_of(own, 0.0) == 0


def test_a_step_of_several_bags_is_the_mean_of_their_gradients(bags):
    """One packed batch of 4 moves the weights as the loop over its bags would."""
    from asmil.bags import BagBatch

    model = build("abmil", dropout=0.0).train()
    logits = model(BagBatch.from_bags(bags[:4])).logits
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor([b.label for b in bags[:4]]))
    packed = torch.autograd.grad(loss, list(model.parameters()))
    singles = []
    for bag in bags[:4]:
        one = torch.nn.functional.cross_entropy(model(BagBatch.from_bags(bag)).logits, torch.tensor([bag.label]))
        singles.append(torch.autograd.grad(one, list(model.parameters())))
    for i, gradient in enumerate(packed):
        torch.testing.assert_close(gradient, sum(s[i] for s in singles) / 4, atol=1e-6, rtol=1e-4)


def test_bags_without_label_and_missing_validation_are_named(bags):
    with pytest.raises(CohortError, match="without a label"):
        fit(build(), [dataclasses.replace(bags[0], label=None)], bags[1:3], settings=SETTINGS)
    with pytest.raises(CohortError, match="no validation bags"):
        fit(build(), bags[:4], [], settings=SETTINGS)


def test_a_diverged_loss_is_an_error(bags):
    broken = [dataclasses.replace(bag, features=bag.features * float("nan")) for bag in bags[:4]]
    with pytest.raises(AsmilError, match="diverged"):
        fit(build(), broken, bags[4:8], settings=SETTINGS)


def test_the_last_epoch_needs_no_validation(bags):
    model = build()
    result = fit(model, bags[:16], [], settings=dataclasses.replace(SETTINGS, select="last"))
    assert result.best_epoch == SETTINGS.epochs - 1 == len(result.history) - 1


def test_a_refit_has_the_sum_of_learning_rates_of_the_selected_epochs_and_ends_at_zero():
    settings = TrainSettings(epochs=40, warmup_epochs=0)
    for epochs in (3, 10, 40):
        refit = refit_settings(settings, epochs)
        first = sum(learning_rate(settings, e + 0.5) for e in range(epochs))
        whole = sum(learning_rate(refit, e + 0.5) for e in range(refit.epochs))
        assert whole == pytest.approx(first, rel=0.1)
        assert learning_rate(refit, refit.epochs) == pytest.approx(0, abs=1e-12)
    assert refit.epochs == 40
