"""What the benchmark compares is what it says."""

import pytest
import torch

from asmil.bench import steps
from asmil.bench.steps import AS_TEXTBOOK, least_flops, limit_step, our_step, textbook_step
from asmil.bench.timing import first_call, flops_of


@pytest.fixture(scope="module")
def features():
    return torch.randn(2000, 96, generator=torch.Generator().manual_seed(0))


def test_the_limit_does_the_products_that_are_counted(features):
    assert flops_of(limit_step(features, 64)) == least_flops(features, 64)


def test_ours_does_hardly_more_than_the_least_and_the_textbook_many_times_that(features):
    least = least_flops(features, 64)
    assert 1 <= flops_of(our_step(features, 64, **AS_TEXTBOOK)) / least < 1.3
    assert flops_of(textbook_step(features, 64)) / least > 5


def test_every_call_is_a_step_of_training(monkeypatch, features):
    ours = our_step(features, 64)
    losses = [float(ours()["task"]) for _ in range(30)]
    assert losses[-1] < losses[0]
    losses, real = [], steps.cross_entropy
    monkeypatch.setattr("asmil.bench.steps.cross_entropy", lambda *a: losses.append(real(*a)) or losses[-1])
    textbook = textbook_step(features, 64)
    for _ in range(30):
        textbook()
    assert losses[-1] < losses[0]


def test_half_precision_as_stored_is_taken(features):
    for make in (our_step, textbook_step, limit_step):
        make(features[:50].half(), 64)()


def test_ours_holds_less(features):
    ours, textbook = (first_call(make(features, 64))[1] for make in (our_step, textbook_step))
    assert ours < textbook / 2
