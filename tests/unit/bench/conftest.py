"""Sizes so small that all parts run within seconds."""

import pytest

from asmil.bench import Machine, Scale


@pytest.fixture
def tiny(monkeypatch) -> Scale:
    monkeypatch.setattr("asmil.bench.parts.step.measure_machine", lambda device: Machine(device, 1e10, 1e10))
    return Scale(
        seconds=0.0,
        step_tiles=(50, 200),
        step_dims=((32, 64),),
        models=("abmil", "mean"),
        model_tiles=60,
        slides=3,
        slide_tiles=40,
        slide_dim=16,
        folds=2,
        seeds=1,
        cell_bags=8,
        cell_epochs=1,
        curve_tiles=(100, 200),
    )
