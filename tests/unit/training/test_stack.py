"""Models trained side by side: what each becomes is what it would become alone, and in any other company."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from asmil import draws
from asmil.attention import AttentionStabilizer
from asmil.bags import BagBatch, make_bags
from asmil.errors import ConfigError
from asmil.models import MILOutput, create_model, list_models, model_info, model_options
from asmil.tasks import create_task
from asmil.training import FitResult, Member, Stack, Standardized, TrainSettings, fit, predict, train_members
from asmil.training.optim import RowAdamW, Rows, trained_names
from asmil.training.stack import PLACES

SETTINGS = TrainSettings(
    epochs=3, min_steps=0, patience=9, learning_rate=3e-3, batch_size=4, clip_norm=0.5, warmup_epochs=1
)
BAGS = make_bags(14, tiles=(4, 20), dim=10)[0]
TRAIN, VAL = BAGS[:10], BAGS[10:]


def member(name, seed, *, settings=SETTINGS, stabilizer=None, **options):
    torch.manual_seed(seed)
    width = {"dim": 16} if "dim" in model_options(name) else {}  # probes have none
    model = Standardized(create_model(name, in_dim=10, n_classes=2, **width, **options), 10).fit_statistics(TRAIN)
    own = None if stabilizer is None else AttentionStabilizer(model.model, **stabilizer)
    return Member(model, settings, own, key=("seed", seed), place=seed)


def trained(members, *, one_pass=True, **options):
    for _ in train_members(members, TRAIN, VAL, one_pass=one_pass, **options):
        pass
    return members


def assert_alike(one: Member, other: Member, *, atol=1e-5):
    assert len(one.result.history) == len(other.result.history)
    for a, b in zip(one.result.history, other.result.history, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            # a ratio of what is left of two nearly even attentions has fewer digits
            rel = 1e-2 if name == "gradient_ratio" else 1e-3
            assert a[name] == pytest.approx(b[name], rel=rel, abs=atol, nan_ok=True), name
    mine, theirs = (np.stack([p.probabilities for p in predict(m.model, BAGS)]) for m in (one, other))
    np.testing.assert_allclose(mine, theirs, atol=atol)


def assert_equal(one: Member, other: Member):
    assert repr(one.result.history) == repr(other.result.history)  # of a nan, too
    for a, b in zip(one.model.state_dict().values(), other.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", list_models())
def test_company_changes_no_bit(name):
    """With all the draws of the model's defaults: dropout, dropped tokens, masks, random splits."""
    stabilizer = {"beta": 0.5, "momentum": 0.8, "start_epoch": 1} if model_info(name).aligned else None
    # scores that are as sharp as its first ones enlarge what is rounded
    options = {"first_scale": 16.0, "score_scale": 4.0, "settling": 4} if name == "asmil" else {}
    made = partial(member, name, stabilizer=stabilizer, settings=replace(SETTINGS, epochs=2), **options)
    company = trained([made(seed) for seed in (9, 6, 7, 5)])
    assert_equal(company[1], trained([made(6)])[0])
    for one, other in zip(company[2:], trained([made(7), made(5)]), strict=True):
        assert_equal(one, other)


@pytest.mark.parametrize("stabilizer", [None, {"beta": 5.0, "max_gradient_ratio": 0.3}, {"anchor": "frozen"}], ids=str)
def test_one_pass_is_one_after_the_other(stabilizer):
    ways = [
        trained([member("asmil", seed, stabilizer=stabilizer) for seed in (0, 1)], one_pass=one_pass)
        for one_pass in (True, False)
    ]
    for together, apart in zip(*ways, strict=True):
        assert_alike(together, apart)


def test_models_of_ours_do_run_in_one_pass():
    members = [member("asmil", seed, stabilizer={}) for seed in (0, 1)]
    assert stack_of(members).passes(BagBatch.from_bags(TRAIN[:4]), tiles_per_step=40)
    large = stack_of([member("asmil", seed) for seed in (0, 1)])
    assert not large.passes(BagBatch.from_bags(TRAIN[:4]), tiles_per_step=1e6)


def stack_of(members, *, alone=False):
    return Stack(
        [m.model for m in members],
        [m.stabilizer for m in members],
        keys=[m.key for m in members],
        settings=SETTINGS,
        places=[] if alone else [m.place % PLACES for m in members],
    )


@pytest.mark.parametrize("seeds", [(0, 1, 2), (2, 1), (1,)], ids=str)
def test_the_draws_of_a_model_are_its_own_bit_for_bit(seeds):
    """Losses of a first step differ by what is dropped alone, as all models are equal."""
    members = [replace(member("abmil", 4, dropout=0.5), key=("seed", seed), place=seed) for seed in seeds]
    stack = stack_of(members)
    losses = stack.step(BagBatch.from_bags(TRAIN[:4]), [0.0] * len(seeds), at=(3, 7), measure=False)["task"]
    known = {0: 0.0, 1: 0.0, 2: 0.0}
    for seed in known:
        lone = stack_of([replace(member("abmil", 4, dropout=0.5), key=("seed", seed))], alone=True)
        known[seed] = float(lone.step(BagBatch.from_bags(TRAIN[:4]), [0.0], at=(3, 7), measure=False)["task"])
    assert len(set(known.values())) == 3
    assert losses.tolist() == pytest.approx([known[seed] for seed in seeds], abs=1e-6)


@pytest.mark.parametrize("name", list_models())
def test_a_large_step_in_parts_is_the_step(name, monkeypatch):
    """A CPU computes some thousand tiles at a time; with draws that drop nothing, the order of sums alone differs."""
    monkeypatch.setattr(draws, "_take", lambda shape, device: torch.full(shape, 32767, dtype=torch.int16))
    stabilizer = {"beta": 0.5} if model_info(name).aligned else None
    one = member(name, 3, stabilizer=stabilizer)
    stack, batch = stack_of([one], alone=True), BagBatch.from_bags(TRAIN[:7])
    if stabilizer:
        with torch.no_grad():  # an anchor that says something else than the model
            for weights in one.stabilizer.anchor.module.parameters():
                weights.mul_(1.5)
    one.model.train()
    whole, slope, without = stack._losses(batch, [5], measure=True)
    monkeypatch.setattr("asmil.training.stack.ON_CPU", 25)
    assert [len(part) for part in stack._parts(batch)] != [7]
    parts, steps, missing = stack._losses(batch, [5], measure=True)
    assert without == missing
    assert whole.keys() == parts.keys()
    for loss, value in whole.items():
        torch.testing.assert_close(parts[loss], value, rtol=1e-4, atol=1e-6, equal_nan=True)
    torch.testing.assert_close(steps, slope, rtol=1e-3, atol=1e-5 * float(slope.abs().max()))


@pytest.mark.parametrize("case", ["batch norm", "a limit of gradients", "a task that compares slides"])
def test_a_step_that_compares_its_bags_is_not_cut(case, monkeypatch):
    monkeypatch.setattr("asmil.training.stack.ON_CPU", 25)
    one = member("abmil", 0, stabilizer={"max_gradient_ratio": 0.3} if case == "a limit of gradients" else {})
    if case == "batch norm":
        one.model.extra = nn.BatchNorm1d(3)
    stack, batch = stack_of([one], alone=True), BagBatch.from_bags(TRAIN[:7])
    stack.task = create_task("survival_cox") if case == "a task that compares slides" else None
    assert stack._parts(batch) == [batch]


def test_each_stops_by_itself_and_the_others_go_on():
    settings = replace(SETTINGS, epochs=12, patience=2, learning_rate=5e-2)
    company = trained([member("abmil", seed, settings=settings) for seed in range(4)])
    epochs = [len(m.result.history) for m in company]
    assert len(set(epochs)) > 1, "all stopped at once"
    for seed in range(4):
        assert_alike(company[seed], trained([member("abmil", seed, settings=settings)])[0], atol=1e-4)


def test_schedules_of_different_length_side_by_side():
    """As in a refit, where each seed is trained for as long as its own selection said."""
    lengths = {0: 2, 1: 5}
    chosen = {s: replace(SETTINGS, epochs=n, select="last") for s, n in lengths.items()}
    members = [member("asmil", seed, settings=settings) for seed, settings in chosen.items()]
    for _ in train_members(members, TRAIN, [], one_pass=True):
        pass
    for m, (seed, settings) in zip(members, chosen.items(), strict=True):
        alone = member("asmil", seed, settings=settings)
        for _ in train_members([alone], TRAIN, []):
            pass
        assert len(m.result.history) == lengths[seed]
        assert_alike(m, alone)


class Foreign(nn.Module):
    """A model of somebody else: it draws from torch's generator, and has a size that depends on values."""

    def __init__(self):
        super().__init__()
        self.layer, self.out, self.spare = nn.Linear(10, 8), nn.Linear(8, 2), nn.Linear(3, 3)
        self.dropout = nn.Dropout(0.4)

    def forward(self, batch: BagBatch) -> MILOutput:
        tiles = self.dropout(self.layer(batch.features).relu())
        kept = tiles[tiles.sum(1) > -1]
        embedding = torch.stack([bag.mean(0) for bag in batch.split(kept)])
        return MILOutput(self.out(embedding), torch.full((len(tiles),), 1 / len(tiles)), embedding)


def foreign(seed):
    torch.manual_seed(seed)
    return Member(Foreign(), SETTINGS, key=("seed", seed))


def test_models_that_cannot_run_in_one_pass_run_one_after_the_other():
    company = trained([foreign(0), foreign(1)])
    for seed in (0, 1):
        (alone,) = trained([foreign(seed)])
        for a, b in zip(company[seed].model.parameters(), alone.model.parameters(), strict=True):
            assert torch.equal(a, b)


class Remembering(nn.Module):
    """A model of somebody else that keeps something of every bag that it is trained on, in one of many ways."""

    def __init__(self, way):
        super().__init__()
        self.way, self.layer, self.out = way, nn.Linear(10, 8), nn.Linear(8, 2)
        self.register_buffer("memory", torch.zeros(8))
        self.register_buffer("steps", torch.zeros(()))
        self.plain, self.queue, self.named = torch.zeros(8), [], {}

    def forward(self, batch: BagBatch) -> MILOutput:
        tiles = self.layer(batch.features).relu()
        embedding = batch.layout.sum(tiles) / batch.layout.counts(tiles)
        mean = embedding.detach().mean(0)
        largest = max(map(len, batch.split(tiles)))
        if self.training and (self.way != "large" or largest == max(map(len, TRAIN))):
            if self.way in ("buffer", "large"):
                self.memory = 0.9 * self.memory + 0.1 * mean
            elif self.way == "counter":
                self.steps += 1
            elif self.way == "plain":
                self.plain = 0.9 * self.plain + 0.1 * mean
            elif self.way == "queue":
                self.queue.append(mean)
            else:
                self.named["last"] = mean
        kept = [self.memory, self.plain, self.steps.expand(8), *self.queue[-3:], *self.named.values()]
        embedding = embedding - torch.stack(kept).mean(0)
        return MILOutput(self.out(embedding), torch.full((len(tiles),), 1 / len(tiles)), embedding)


@pytest.mark.parametrize("way", ["buffer", "counter", "plain", "queue", "named", "large"])
def test_models_that_keep_something_of_their_bags_run_one_after_the_other(way):
    def remembering(seed):
        torch.manual_seed(seed)
        return Member(Remembering(way), SETTINGS, key=("seed", seed), place=seed)

    company = trained([remembering(0), remembering(1)])
    for seed in (0, 1):
        (alone,) = trained([remembering(seed)], one_pass=False)
        assert_alike(company[seed], alone)
        kept = [[m.model.memory, m.model.plain, m.model.steps, *m.model.queue] for m in (company[seed], alone)]
        assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(*kept, strict=True))


@pytest.mark.parametrize("way", ["buffer", "counter", "plain", "queue", "named"])
def test_trying_a_pass_changes_nothing_of_a_model(way):
    members = [Member(Remembering(way), SETTINGS, place=seed) for seed in (0, 1)]
    stack, model = stack_of(members), members[0].model
    assert not stack.passes(BagBatch.from_bags(TRAIN[:4]), tiles_per_step=40)
    assert (model.queue, model.named) == ([], {})
    assert not any(float(value.sum()) for value in (model.memory, model.plain, model.steps))


def test_parameters_without_gradient_stay_as_they_are():
    before = foreign(0).model.spare.weight.detach().clone()
    (own,) = trained([foreign(0)])
    assert torch.equal(own.model.spare.weight, before)


def test_one_that_diverges_leaves_the_others_alone():
    members = [member("abmil", seed) for seed in (0, 1)]
    with torch.no_grad():
        members[0].model.model.classifier.weight.fill_(torch.nan)
    trained(members)
    assert "not finite" in members[0].error.what
    assert members[1].error is None
    assert_alike(members[1], trained([member("abmil", 1)])[0])


def test_weights_are_the_models_own_afterwards():
    members = trained([member("asmil", seed, stabilizer={}) for seed in (0, 1)])
    storages = [
        p.untyped_storage().data_ptr()
        for m in members
        for module in (m.model, m.stabilizer.anchor.module)
        for p in module.parameters()
    ]
    assert len(set(storages)) == len(storages)


class _Killed(BaseException):
    """Not an error that anybody handles."""


@pytest.mark.parametrize("after", [1, 3])
def test_killed_and_continued_is_bit_equal(tmp_path, after):
    settings = replace(SETTINGS, epochs=5, patience=2, learning_rate=5e-2, checkpoint_seconds=0)

    def company():
        return [member("asmil", seed, settings=settings, stabilizer={"beta": 0.1}) for seed in (0, 1, 2)]

    unbroken = trained(company())
    path = tmp_path / "checkpoint.pt"
    epochs = train_members(company(), TRAIN, VAL, checkpoint=path, one_pass=True)
    for _ in range(after):
        next(epochs)
    with pytest.raises(_Killed):
        epochs.throw(_Killed)
    broken = trained(company(), checkpoint=path)
    for a, b in zip(unbroken, broken, strict=True):
        assert a.result.history == b.result.history
        for mine, theirs in zip(a.model.parameters(), b.model.parameters(), strict=True):
            assert torch.equal(mine, theirs)


def test_a_checkpoint_of_others_is_refused(tmp_path):
    from asmil.errors import RunError

    trained([member("abmil", 0)], checkpoint=tmp_path / "a.pt")
    with pytest.raises(RunError, match="another run"):
        trained([member("abmil", 1)], checkpoint=tmp_path / "a.pt")


def test_adamw_of_rows_is_torchs_with_clipping():
    """Two models with rates of their own; weights of linear maps decay, biases and norms do not."""
    settings = TrainSettings(weight_decay=0.3, clip_norm=1.0)
    models = [nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3), nn.Linear(3, 2)) for _ in range(2)]
    theirs = [nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3), nn.Linear(3, 2)) for _ in range(2)]
    for mine, other in zip(models, theirs, strict=True):
        other.load_state_dict(mine.state_dict())
    names, border = trained_names(models[0])
    assert border == 4 * 3 + 3 * 2
    rows = Rows(models, names)
    optimizer, rates = RowAdamW(rows, border, settings), (1e-2, 3e-3)
    references = [
        torch.optim.AdamW(
            [
                {"params": [p for p in model.parameters() if p.dim() == 2], "weight_decay": 0.3},
                {"params": [p for p in model.parameters() if p.dim() != 2], "weight_decay": 0.0},
            ],
            lr=rate,
        )
        for model, rate in zip(theirs, rates, strict=True)
    ]
    for step in range(5):
        x = torch.randn(6, 4, generator=torch.Generator().manual_seed(step))
        found = []
        for mine, other, reference in zip(models, theirs, references, strict=True):
            own = dict(mine.named_parameters())
            gradients = torch.autograd.grad(mine(x).square().sum() * 9, [own[name] for name in names])
            found.append(torch.cat([g.flatten() for g in gradients]))
            reference.zero_grad()
            (other(x).square().sum() * 9).backward()
            nn.utils.clip_grad_norm_(other.parameters(), 1.0)
            reference.step()
        optimizer.step(torch.stack(found), rates)
    for mine, other in zip(models, theirs, strict=True):
        for a, b in zip(mine.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(a, b)


def test_a_model_of_two_types_is_refused_by_name():
    mixed = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2).double()])
    with pytest.raises(ConfigError, match="float64"):
        Rows([mixed], trained_names(mixed)[0])


def test_fit_is_the_training_of_one_member():
    alone, (other,) = member("abmil", 3), trained([member("abmil", 3)], one_pass=False)
    result = fit(alone.model, TRAIN, VAL, settings=SETTINGS, seed=3)
    assert isinstance(result, FitResult)
    assert result.history == other.result.history
