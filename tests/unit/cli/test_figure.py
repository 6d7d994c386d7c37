"""The figures of the paper from run folders: what is drawn is what was recorded, and what lacks is named."""

import h5py
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from asmil.cli import app
from asmil.figures import embeddings_figure, tsne
from asmil.runs import Run
from asmil.settings import Settings
from asmil.training import EMBEDDINGS, AttentionRecorder, Prediction

EPOCHS, SLIDES = 12, 12


def record(recorder, epochs):
    """Tell a recorder of slides whose embeddings are their class, and noise that falls with the epoch."""
    for epoch in epochs:
        draw = np.random.default_rng(epoch)
        val = [
            Prediction(
                f"s{i}", np.array([0.5, 0.5]), np.full(4, 0.25), np.full(6, 5.0 * (i % 2)) + draw.normal(size=6), 0.0
            )
            for i in range(SLIDES)
        ]
        recorder("epoch", epoch=epoch, val=val)


def make_run(folder, *, stabilize):
    """A run with one finished cell, as little as the figures need."""
    run = Run.create(folder)
    run.write_identity({"model": "abmil"})
    run.write_settings(Settings(model="abmil", stabilize=stabilize, seeds=1))
    cell = run.cell(0, 0)
    recorder = AttentionRecorder()
    record(recorder, range(EPOCHS))
    recorder.save(cell.folder / "dynamics.h5")
    pd.DataFrame({"epoch": range(EPOCHS), "jsd": [np.nan, *np.geomspace(1e-2, 1e-4, EPOCHS - 1)]}).to_csv(
        cell.folder / "log.csv", index=False
    )
    if stabilize:
        with h5py.File(cell.folder / "scores.h5", "w") as file:
            file["softmax"], file["nsf"] = np.geomspace(0.1, 10, 99), np.linspace(0.9, 1.1, 99)
    rows = [
        {"slide": f"s{i}", "case": f"c{i}", "label": "ab"[i % 2], "part": "val", "prob_a": 1} for i in range(SLIDES)
    ]
    pd.DataFrame(rows).to_csv(cell.folder / "predictions.csv", index=False)
    pd.DataFrame(rows).assign(fold=0).to_csv(run.folder / "splits.csv", index=False)
    for name in ("attention.h5", "model.safetensors"):  # nothing of them is drawn
        (cell.folder / name).write_text("-")
    return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return [make_run(folder / name, stabilize=on).folder for name, on in (("with", True), ("without", False))]


@pytest.mark.parametrize(
    ("name", "compared", "words"),
    [
        ("fig1", True, ["with anchor", "without anchor", "epoch", "JSD"]),
        ("fig3", False, ["softmax of the model", "NSF of the anchor"]),
        ("fig5", True, ["epoch 0", "epoch 5", "epoch 10", "with anchor", "without anchor"]),
    ],
)
def test_a_figure_is_written_as_png_and_svg(runs, tmp_path, name, compared, words):
    arguments = ["figure", name, str(runs[0]), "--out", str(tmp_path / "drawn.v1.svg")]
    done = CliRunner().invoke(app, [*arguments, *(["--against", str(runs[1])] if compared else [])])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "drawn.v1.png").stat().st_size > 5000
    svg = (tmp_path / "drawn.v1.svg").read_text(encoding="utf-8")
    assert all(f"<!-- {word}" in svg for word in words), "a word is not drawn"


def test_what_is_missing_is_named(runs):
    for arguments, word in (
        (["fig3", str(runs[1])], "without a stabiliser"),
        (["fig2", str(runs[0])], "fig1, fig3, fig4, fig5"),
        (["fig1", str(runs[0]), "--slide", "s1"], "shows no slides"),
        (["fig1", str(runs[0].parent)], "is not a run"),
    ):
        done = CliRunner().invoke(app, ["figure", *arguments])
        assert done.exit_code == 2
        assert word in done.output


def test_an_unfinished_run_is_drawn_only_when_asked_for_and_says_so(tmp_path):
    run = make_run(tmp_path / "run", stabilize=True)
    run.write_settings(run.settings.model_copy(update={"seeds": 2}))
    arguments = ["figure", "fig1", str(run.folder), "--out", str(tmp_path / "drawn")]
    done = CliRunner().invoke(app, arguments)
    assert (done.exit_code, list(tmp_path.glob("drawn*"))) == (2, [])
    assert "1 of 2 models are finished" in done.output
    done = CliRunner().invoke(app, [*arguments, "--partial"])
    assert (done.exit_code, len(list(tmp_path.glob("drawn*")))) == (1, 2)
    assert "A partial look: 1 of 2 models" in done.output


def test_embeddings_are_recorded_every_fifth_epoch_also_across_an_interruption(tmp_path):
    unbroken, first, second = (AttentionRecorder(embed=5) for _ in range(3))
    record(unbroken, range(EPOCHS))
    record(first, range(7))
    second.load_state_dict(first.state_dict())
    record(second, range(7, EPOCHS))
    stored = []
    for recorder in (unbroken, second):
        recorder.save(tmp_path / "dynamics.h5")
        with h5py.File(tmp_path / "dynamics.h5") as file:
            assert sorted(file) == [EMBEDDINGS, "s0", "s1", "s2", "s3"]
            group = file[EMBEDDINGS]
            assert group["epoch"][:].tolist() == [0, 5, 10]
            assert group["slide"].asstr()[:].tolist() == [f"s{i}" for i in range(5)]
            stored.append(group["embedding"][:])
    assert np.array_equal(*stored)
    assert stored[0].dtype == np.float16
    assert stored[0].shape == (3, 5, 6)
    assert stored[0][2, 3] == pytest.approx(stored[0][2, 1], abs=5)  # the same class
    assert np.abs(stored[0][2, 3] - stored[0][2, 0]).mean() > 2.5


def test_a_state_from_before_the_embeddings_can_be_continued():
    recorder = AttentionRecorder()
    record(recorder, [0])
    state = {name: recorder.state_dict()[name] for name in ("last", "kept")}
    AttentionRecorder().load_state_dict(state)


def test_embeddings_are_mapped_with_their_classes():
    vectors = np.random.default_rng(0).normal(size=(40, 8)) + np.repeat([[0], [9]], 20, axis=0)
    places = tsne(vectors)
    assert np.array_equal(places, tsne(vectors))
    inside = np.linalg.norm(places[:20] - places[:20].mean(0), axis=1).mean()
    assert np.linalg.norm(places[:20].mean(0) - places[20:].mean(0)) > 2 * inside
    labels = np.repeat(["a", "b"], 20)
    figure = embeddings_figure({"run": vectors[None]}, epochs=[4], labels={"run": labels})
    drawn = figure.axes[0].collections
    assert [group.get_label() for group in drawn] == ["a", "b"]
    assert np.allclose(drawn[1].get_offsets(), places[20:])
