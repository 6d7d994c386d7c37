"""The checker can fail: for every check there is a model that breaks just that promise."""

import re
from dataclasses import replace

import pytest
import torch
from torch import nn

from asmil.errors import ConfigError, UnknownPartError
from asmil.models import MILOutput, create_model, wrap
from asmil.testing import ContractError, check_model
from asmil.testing.model import TO_ADD


class Broken(nn.Module):
    """A sound model whose input or output is tampered with."""

    def __init__(self, in_dim, n_classes):
        super().__init__()
        self.inner = create_model("abmil", in_dim=in_dim, n_classes=n_classes, dim=16, hidden=8)

    def forward(self, batch):
        return self.tamper(self.inner(batch), batch)

    def tamper(self, output, batch):
        return output


class ReturnsTuple(Broken):
    def tamper(self, output, batch):
        return output.logits, output.attention


class OneLogitTooMany(Broken):
    def tamper(self, output, batch):
        return replace(output, logits=torch.cat([output.logits, output.logits[:, :1]], 1))


class SumsToTwo(Broken):
    def tamper(self, output, batch):
        return replace(output, attention=output.attention * 2)


class NegativeAttention(Broken):
    def tamper(self, output, batch):
        push = torch.zeros_like(output.attention)
        push[0], push[1] = 2, -2
        return replace(output, attention=output.attention + push)


class OtherScoresForTheAnchor(Broken):
    def attention_scores(self, batch):
        return self.inner.attention_scores(batch) * 2


class EvidenceOfNothing(Broken):
    def evidence(self, batch):
        return torch.zeros(len(batch.features), self.inner(batch).logits.shape[1])


class FirstTileCounts(Broken):
    def tamper(self, output, batch):
        first = batch.features[torch.tensor(batch.starts[:-1])].to(output.logits.dtype)
        return replace(output, logits=output.logits + first[:, :1])


class BagsTalk(Broken):
    def tamper(self, output, batch):
        return replace(output, logits=output.logits - output.logits.mean(0))


class FirstBagOnly(Broken):  # the published batch of two
    def tamper(self, output, batch):
        return replace(output, logits=output.logits[:1].expand_as(output.logits))


class PositionInBatchCounts(Broken):
    def tamper(self, output, batch):
        return replace(output, logits=output.logits + torch.arange(len(batch))[:, None])


class NeedsTwoTiles(Broken):
    def forward(self, batch):
        spread = [
            (bag.var(0, correction=0) * len(bag) / (len(bag) - 1)).mean() for bag in batch.split(batch.features.float())
        ]  # NaN for one tile
        output = self.inner(batch)
        return replace(output, logits=output.logits + torch.stack(spread)[:, None])


class UnusedLayer(Broken):
    def __init__(self, in_dim, n_classes):
        super().__init__(in_dim, n_classes)
        self.forgotten = nn.Linear(3, 3)


class DetachedAttention(Broken):
    def forward(self, batch):
        output, tiles = self.inner(batch), self.inner.projection(batch.features)
        pairs = zip(batch.split(output.attention.detach()), batch.split(tiles), strict=True)
        embedding = torch.stack([weights @ bag for weights, bag in pairs])
        return replace(output, logits=self.inner.classifier(embedding), embedding=embedding)


class Float32Only(Broken):
    def forward(self, batch):
        if batch.features.dtype == torch.float16:
            raise TypeError("expected float32")
        return super().forward(batch)


class ForgetsAutocast(Broken):
    def forward(self, batch):
        hidden = self.inner.projection.linear(batch.features.to(self.inner.score.weight.dtype))
        return super().forward(batch.with_features(batch.features + 0 * (hidden.double() @ hidden.T).sum()))


class Overflows(Broken):
    def tamper(self, output, batch):
        return replace(output, logits=output.logits + 0 * batch.features.float().exp().sum())


class DropsInEvaluation(Broken):
    def tamper(self, output, batch):
        return replace(output, logits=nn.functional.dropout(output.logits, 0.5, training=True))


class DrawsInEvaluation(Broken):
    def tamper(self, output, batch):
        torch.rand(1)
        return output


class HiddenState(Broken):
    def __init__(self, in_dim, n_classes):
        super().__init__(in_dim, n_classes)
        self.shift = torch.randn(n_classes)  # neither parameter nor buffer

    def tamper(self, output, batch):
        return replace(output, logits=output.logits + self.shift)


class WritesInput(Broken):
    def forward(self, batch):
        output = self.inner(batch)
        batch.features.mul_(1.5)
        return output


BROKEN = [
    (ReturnsTuple, "complete_output"),
    (OneLogitTooMany, "complete_output"),
    (SumsToTwo, "attention_is_a_distribution"),
    (NegativeAttention, "attention_is_a_distribution"),
    (OtherScoresForTheAnchor, "attention_scores_agree"),
    (FirstTileCounts, "order_of_tiles_is_irrelevant"),
    (BagsTalk, "batch_equals_loop"),
    (FirstBagOnly, "batch_equals_loop"),
    (PositionInBatchCounts, "repeated_bag_gives_equal_results"),
    (NeedsTwoTiles, "bag_of_one_tile"),
    (UnusedLayer, "every_parameter_learns"),
    (DetachedAttention, "every_parameter_learns"),
    (Float32Only, "half_precision_features"),
    (ForgetsAutocast, "bf16_autocast"),
    (EvidenceOfNothing, "evidence_adds_up"),
    (Overflows, "large_features"),
    (DropsInEvaluation, "evaluation_is_deterministic"),
    (DrawsInEvaluation, "evaluation_is_deterministic"),
    (HiddenState, "state_dict_round_trip"),
    (WritesInput, "input_is_left_alone"),
]


def test_the_sound_base_passes():
    report = check_model(Broken)
    report.raise_if_failed()
    assert report.ok
    assert report.failed == []


@pytest.mark.parametrize(("model", "check"), BROKEN, ids=lambda x: getattr(x, "__name__", x))
def test_broken_model_is_caught(model, check):
    report = check_model(model)
    assert check in report.failed, str(report)
    with pytest.raises(ContractError, match=re.escape(TO_ADD[check])):
        report.raise_if_failed()


def test_every_check_has_a_model_that_breaks_it():
    assert {check for _, check in BROKEN} == {result.name for result in check_model(Broken).results} == set(TO_ADD)


def test_a_module_that_takes_tiles_is_told_once_how_to_become_a_model():
    class OfTiles(nn.Module):
        def __init__(self, in_dim, n_classes):
            super().__init__()
            self.head = nn.Linear(in_dim, n_classes)

        def forward(self, tiles):
            return self.head(tiles.mean(0))

    report = check_model(OfTiles)
    assert "its forward(batch) failed: AttributeError" in str(report)
    assert str(report).count("to add:") == str(report).count("asmil.wrap(TheClass, scores=...)") == 1
    check_model(wrap(OfTiles)).raise_if_failed()


def test_announced_failure_is_accepted_and_stale_one_is_not():
    expected = {"every_parameter_learns": "a layer is kept for later"}
    check_model(UnusedLayer, expected_failures=expected).raise_if_failed()
    with pytest.raises(ContractError, match="kept for later"):
        check_model(Broken, expected_failures=expected).raise_if_failed()


def test_unknown_names_are_the_callers_error():
    with pytest.raises(ConfigError, match="every_parameter_learns"):
        check_model(Broken, expected_failures={"nothing": "?"})
    with pytest.raises(UnknownPartError):
        check_model("abmill")
    with pytest.raises(ConfigError):
        check_model("abmil", gate=True)


def test_random_state_of_the_caller_is_kept():
    torch.manual_seed(11)
    state = torch.get_rng_state()
    check_model("asmil")
    assert torch.equal(state, torch.get_rng_state())


def test_foreign_model_behind_a_factory():
    class Foreign(nn.Module):
        """Padded, as most published code: (bags, longest, dim) and a mask."""

        def __init__(self, in_dim, n_classes):
            super().__init__()
            self.score, self.head = nn.Linear(in_dim, 1), nn.Linear(in_dim, n_classes)

        def forward(self, x, mask):
            attention = self.score(x).masked_fill(~mask[..., None], -torch.inf).softmax(1)
            pooled = (attention * x).sum(1)
            return self.head(pooled), attention[..., 0], pooled

    class Wrapped(Foreign):
        def forward(self, batch):
            features, mask = batch.padded()
            if not torch.is_autocast_enabled("cpu"):
                features = features.to(self.head.weight.dtype)
            logits, attention, pooled = super().forward(features, mask)
            return MILOutput(logits, batch.layout.pack(attention), pooled)

    check_model(Wrapped).raise_if_failed()


class ShiftedScores(Broken):
    """Its bias moves all scores alike: softmax does not see that, and the gradient is exactly zero."""

    def __init__(self, in_dim, n_classes):
        super().__init__(in_dim, n_classes)
        self.bias = nn.Parameter(torch.zeros(1))

    def tamper(self, output, batch):
        return replace(output, logits=output.logits + 0 * self.bias)


def test_a_bias_may_have_a_gradient_of_zero_but_must_have_one():
    check_model(ShiftedScores).raise_if_failed()
