"""The stabilizer on foreign models: every way to name the scores, and that it leaves no trace."""

import copy
import math
import pickle

import pytest
import torch
from torch import nn

from asmil.attention import AttentionStabilizer, log_nsf, log_softmax
from asmil.errors import AttentionError

TILES = torch.randn(30, 5, generator=torch.Generator().manual_seed(5))


def kl(anchored, online, dim):
    """The mean over rows of KL(NSF(z') || softmax(z)), written out."""
    target = torch.sigmoid(anchored.double())
    target = target / target.sum(dim, keepdim=True)
    online = torch.softmax(online.double(), dim)
    return float((target * (target / online).log()).sum(dim).mean())


def without_dropout(model):
    for part in model.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    return model.train()


@pytest.mark.parametrize("scores", ["attention_net.3.attention_c", lambda output: output[3]])
def test_clam_by_module_name_and_by_output(toys, scores):
    model = without_dropout(toys.ClamLike())
    stabilizer = AttentionStabilizer(model, gated=False, scores=scores, beta=0.5)
    raw = model(TILES, label=torch.tensor([0]))[3]
    assert float(stabilizer.loss()) == pytest.approx(0.5 * kl(raw.detach(), raw.detach(), 1), rel=1e-5, abs=2e-7)
    assert stabilizer.statistics()["kl"] == pytest.approx(kl(raw.detach(), raw.detach(), 1), rel=1e-5, abs=2e-7)


def test_multi_head_rows_along_the_last_axis(toys):
    model = toys.MultiHead()
    stabilizer = AttentionStabilizer(model, gated=False, scores=lambda output: output[1], beta=1)
    _, scores = model(TILES[None])
    assert float(stabilizer.loss()) == pytest.approx(kl(scores.detach(), scores.detach(), 2), rel=1e-5, abs=2e-7)


def test_padded_batches_by_a_mask_of_the_inputs(toys):
    model = toys.MultiHead()
    stabilizer = AttentionStabilizer(
        model, gated=False, scores=lambda output: output[1], beta=1, mask=lambda tiles: (tiles != 0).any(-1)[:, None]
    )
    alone = []
    for bag in (TILES[:12], TILES[12:]):
        model(bag[None])
        alone.append(float(stabilizer.loss()))
    model(nn.utils.rnn.pad_sequence([TILES[:12], TILES[12:]], batch_first=True))
    assert float(stabilizer.loss()) == pytest.approx(sum(alone) / 2, rel=1e-5, abs=2e-7)


def test_scores_that_are_weights_already(toys):
    model = toys.MultiHead()
    raw = AttentionStabilizer(model, gated=False, scores=lambda o: o[1].log_softmax(-1), beta=1)
    weights = AttentionStabilizer(model, gated=False, scores=lambda o: o[1].softmax(-1), beta=1, normalized=True)
    model(TILES[None])
    assert float(weights.loss()) == pytest.approx(float(raw.loss()), rel=1e-5, abs=2e-7)


def test_attaching_changes_no_output_gradient_or_state(toys):
    def step(stabilized):
        torch.manual_seed(7)
        model = toys.ClamLike().train()
        before = list(model.state_dict())
        if stabilized:
            stabilizer = AttentionStabilizer(model, gated=False, scores="attention_net.3.attention_c")
            assert list(model.state_dict()) == before
        torch.manual_seed(8)
        output = model(TILES)
        if stabilized:
            stabilizer.loss()  # runs the anchor: the random numbers after it must be those of a plain step
        output[0].square().sum().backward()
        again = model(TILES)[0]
        return [
            output[0],
            output[3],
            again,
            *(p.grad for p in model.parameters()),
            *model.state_dict().values(),
        ]

    assert all(torch.equal(a, b) for a, b in zip(step(False), step(True), strict=True))


def test_evaluation_and_no_grad_record_nothing(toys):
    model = toys.ClamLike()
    stabilizer = AttentionStabilizer(model, gated=False, scores="attention_net.3.attention_c")
    model.eval()(TILES)
    with torch.no_grad():
        model.train()(TILES)
    with pytest.raises(AttentionError, match="no forward to align"):
        stabilizer.loss()
    model(TILES)
    stabilizer.loss()
    with pytest.raises(AttentionError, match="no forward to align"):
        stabilizer.loss()
    model(TILES)
    stabilizer.update()  # an unused forward is forgotten with its step
    with pytest.raises(AttentionError, match="no forward to align"):
        stabilizer.loss()


def test_detach_leaves_no_trace(toys):
    model = toys.ClamLike()
    AttentionStabilizer(model, gated=False, scores="attention_net.3.attention_c").detach()
    for part in model.modules():
        hooks = [part._forward_hooks, part._forward_pre_hooks, part._forward_hooks_with_kwargs]
        assert not any(hooks)


def test_copies_of_the_model_are_free_of_the_stabilizer(toys):
    model = toys.ClamLike().train()
    stabilizer = AttentionStabilizer(model, gated=False, scores="attention_net.3.attention_c")
    second = AttentionStabilizer(model, gated=False, scores=lambda output: output[3])
    copy.deepcopy(model)(TILES)
    pickle.loads(pickle.dumps(model))(TILES)
    with pytest.raises(AttentionError, match="no forward to align"):
        stabilizer.loss()
    model(TILES)
    assert stabilizer.loss() > 0
    assert second.loss() > 0
    with pytest.raises(AttentionError, match="no forward to align"):
        stabilizer.loss()  # neither anchor's run was recorded


def test_models_with_cached_tensors_and_old_weight_norm(toys):
    model = toys.ClamLike().train()
    with pytest.warns(FutureWarning):
        nn.utils.weight_norm(model.classifiers)
    model.cache = {"last": [model(TILES)[3]]}  # inside a graph: deepcopy alone refuses it
    stabilizer = AttentionStabilizer(model, gated=False, scores=lambda output: output[3])
    model(TILES)
    stabilizer.loss().backward()
    stabilizer.update()


def test_the_anchor_sees_the_same_random_split():
    class Split(nn.Module):
        """As DTFD: a random half of the tiles, drawn in every mode."""

        def __init__(self):
            super().__init__()
            self.attention, self.drawn = nn.Linear(5, 1), []

        def forward(self, tiles):
            self.drawn.append(torch.randperm(len(tiles))[:15])
            return self.attention(tiles[self.drawn[-1]])

    model = Split().train()
    stabilizer = AttentionStabilizer(model, gated=False, scores="attention")
    model(TILES)
    torch.rand(3)
    state = torch.get_rng_state()
    stabilizer.loss()
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(stabilizer.anchor.module.drawn[-1], model.drawn[-1])


def test_a_submodule_that_runs_several_times_counts_each_time():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.Linear(5, 1)

        def forward(self, tiles):
            return sum(self.attention(part).softmax(0).T @ part for part in (tiles[:20], tiles[20:]))

    model = Twice().train()
    stabilizer = AttentionStabilizer(model, gated=False, scores="attention", beta=1)
    model(TILES)
    expected = [kl(z, z, 0) for z in (model.attention(part).detach() for part in (TILES[:20], TILES[20:]))]
    assert float(stabilizer.loss()) == pytest.approx(sum(expected) / 2, rel=1e-5, abs=2e-7)


def test_autocast_of_the_forward_is_that_of_the_anchor(toys):
    model = toys.ClamLike().train()
    stabilizer = AttentionStabilizer(model, gated=False, scores="attention_net.3.attention_c", beta=1)
    seen = []
    stabilizer.anchor.module.attention_net[0].register_forward_hook(lambda *call: seen.append(call[-1].dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model(TILES)
    loss = stabilizer.loss()
    assert seen == [torch.bfloat16]
    assert loss.dtype == torch.float32
    model(TILES)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        stabilizer.loss()
    assert seen == [torch.bfloat16, torch.float32]


def test_late_start_and_warm_up(toys):
    model = toys.Packed().train()
    stabilizer = AttentionStabilizer(model, gated=False, beta=0.8, start_epoch=2, warmup_epochs=3, momentum=0.5)
    betas = []
    for epoch in range(7):
        stabilizer.set_epoch(epoch)
        with torch.no_grad():
            model.attention.weight.add_(1)
        model(toys.batch(6, 4))
        loss = stabilizer.loss()
        betas.append(stabilizer.statistics()["beta"])
        assert (float(loss) == 0) == (epoch < 2)
        if epoch == 2:  # equal to the model of this moment, not of the beginning
            assert torch.equal(stabilizer.anchor.module.attention.weight, model.attention.weight)
        stabilizer.update()
    assert betas == pytest.approx([0, 0, 0.2, 0.4, 0.6, 0.8, 0.8])


def test_a_frozen_anchor_stays_and_an_independent_one_differs(toys):
    model = toys.Packed().train()
    frozen = AttentionStabilizer(model, gated=False, anchor="frozen", init="independent")
    assert not torch.equal(frozen.anchor.module.attention.weight, model.attention.weight)
    start = copy.deepcopy(frozen.anchor.state_dict())
    for _ in range(3):
        model(toys.batch(6, 4))
        assert frozen.loss().isfinite()
        frozen.update()
    assert all(torch.equal(a, b) for a, b in zip(start.values(), frozen.anchor.state_dict().values(), strict=True))
    assert frozen.statistics()["momentum"] == 1


def test_the_anchor_runs_only_attention_scores_where_the_model_has_it(toys):
    class WithScores(toys.Packed):
        def attention_scores(self, batch):
            return self.attention(self.drop(self.norm(self.layer(batch.features)).relu()))

    torch.manual_seed(4)
    whole = toys.Packed().train()
    torch.manual_seed(4)
    part = WithScores().train()
    ran, losses = [], []
    for model in (whole, part):
        stabilizer = AttentionStabilizer(model, gated=False)
        stabilizer.anchor.module.classifier.register_forward_hook(lambda *_: ran.append(1))
        torch.manual_seed(9)
        model(toys.batch(6, 4))
        losses.append(float(stabilizer.loss()))
    assert losses[0] == losses[1] > 0
    assert ran == [1]


def test_auto_is_the_divergence_of_the_packed_scores(toys):
    model, batch = toys.Packed().train(), toys.batch(6, 1, 9)
    stabilizer = AttentionStabilizer(model, gated=False, beta=1, temperature=2.0)
    scores = model(batch).scores.detach()
    loss = float(stabilizer.loss())
    anchored = stabilizer.anchor.module(batch).scores
    target = log_nsf(anchored, batch.layout, temperature=2.0)
    rows = batch.layout.sum(target.exp() * (target - log_softmax(scores, batch.layout)))
    assert loss == pytest.approx(float(rows.mean()), rel=1e-5)


def test_gradient_ratio(toys):
    model = without_dropout(toys.ClamLike())
    stabilizer = AttentionStabilizer(model, gated=False, scores="attention_net.3.attention_c", beta=0.3)
    task = model(TILES)[0].logsumexp(1).sum()
    assert stabilizer.gradient_ratio(task) == 0  # before loss()
    align = stabilizer.loss()
    ratio = stabilizer.gradient_ratio(task)
    scores = stabilizer._aligned[1]
    expected = [torch.autograd.grad(v, scores, retain_graph=True)[0].norm() for v in (align, task)]
    assert ratio == pytest.approx(float(expected[0] / expected[1]), rel=1e-5)
    unrelated = torch.ones((), requires_grad=True) * 2
    assert math.isnan(stabilizer.gradient_ratio(unrelated))
    (task + align).backward()  # the graph is still whole


@pytest.mark.parametrize("normalizer", ["softmax", "nsf", "sparsemax", "entmax"])
def test_every_normalizer_may_be_the_anchors(toys, normalizer):
    model = toys.Packed().train()
    stabilizer = AttentionStabilizer(model, gated=False, anchor_normalizer=normalizer, online_normalizer="nsf", beta=1)
    model(toys.batch(5, 8))
    loss = stabilizer.loss()
    loss.backward()
    assert loss.isfinite()
    assert loss > 0
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_statistics_tell_when_the_gate_opens():
    """Even scores: nothing to hold yet; far from even: rows count; without a gate they count from the start."""
    gates = {}
    for gated, size in ((True, 0.0), (True, 8.0), (False, 0.0)):
        torch.manual_seed(0)
        model = nn.Linear(5, 2)
        with torch.no_grad():
            model.weight.mul_(size)
        stabilizer = AttentionStabilizer(model, scores=lambda output: output, tile_dim=0, gated=gated)
        assert math.isnan(stabilizer.statistics()["gate"])
        model.train()(TILES)
        stabilizer.loss()
        gates[gated, size] = stabilizer.statistics()["gate"]
    assert gates[True, 0.0] == pytest.approx(0, abs=1e-6)
    assert gates[False, 0.0] == 1
    assert 0.01 < gates[True, 8.0] < 1
