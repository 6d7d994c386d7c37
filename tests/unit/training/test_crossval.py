"""Cross-validation on real files: every slide tested once; the same bits for any number of processes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from asmil.bags import make_splits, open_features, read_cohort
from asmil.errors import AsmilError, RunError
from asmil.training import CellResult, Recipe, TrainSettings, crossval

SETTINGS = TrainSettings(epochs=4, min_epochs=1, checkpoint_seconds=0)


@pytest.fixture(scope="module")
def study(tmp_path_factory, write_feature_files):
    """30 slides of 15 patients as feature files, with labels."""
    folder = tmp_path_factory.mktemp("study")
    names = write_feature_files(folder / "features", n_slides=30, dim=12)
    table = pd.DataFrame(
        {
            "slide_id": names,
            "case_id": [f"p{i // 2}" for i in range(30)],
            "label": [["neg", "pos"][i // 2 % 2] for i in range(30)],
        }
    )
    table.to_csv(folder / "labels.csv", index=False)
    cohort = read_cohort(folder / "labels.csv")
    return cohort, open_features(folder / "features"), make_splits(cohort, folds=3)


@dataclass(frozen=True)
class Folder:
    """Keeps what was trained as files: a plain object, which a process can be sent."""

    path: Path
    die_at: str = ""

    def keep(self, result: CellResult) -> None:
        name = f"{result.fold}_{result.seed}"
        if name == self.die_at:
            import os

            os._exit(9)
        own = self.path / name
        own.mkdir(parents=True)
        for part, module in (("model", result.model), ("anchor", result.anchor)):
            if module is not None:
                save_file({k: v.contiguous() for k, v in module.state_dict().items()}, own / f"{part}.safetensors")
        rows = [
            {"part": p, "slide": x.slide, "p": x.probabilities[1]} for p, s in result.predictions.items() for x in s
        ]
        pd.DataFrame(rows).to_csv(own / "predictions.csv", index=False)
        pd.DataFrame(result.history).to_csv(own / "log.csv", index=False)
        np.savez(own / "attention.npz", **{x.slide: x.attention for x in result.predictions["test"]})
        np.savez(own / "scores.npz", **result.score_samples)

    def bytes(self) -> dict[str, bytes]:
        files = (path for path in self.path.rglob("*") if path.is_file() and path.suffix != ".npz")
        return {str(path.relative_to(self.path)): path.read_bytes() for path in files}

    def probabilities(self, seed: int) -> np.ndarray:
        return np.concatenate([pd.read_csv(self.path / f"{fold}_{seed}" / "predictions.csv").p for fold in range(3)])


def run(study, folder, *, seeds=(0,), workers=1, model="asmil", settings=SETTINGS, keep=None, **options):
    cohort, store, splits = study
    cells, own = [(fold, seed) for fold in splits.folds for seed in seeds], keep or Folder(folder)
    recipe = Recipe(model=model, settings=settings)
    crossval(
        cohort, store, splits, recipe=recipe, cells=cells, keep=own.keep, checkpoints=folder / "checkpoints",
        workers=workers, **options,
    )  # fmt: skip
    return own


def test_every_slide_is_tested_once_by_a_model_that_never_saw_its_patient(study, tmp_path):
    results: list[CellResult] = []

    @dataclass
    class Memory:
        def keep(self, result):
            results.append(result)

    run(study, tmp_path, keep=Memory())
    case_of = dict(zip(study[0].slides, study[0].cases, strict=True))
    assert sorted(p.slide for result in results for p in result.predictions["test"]) == sorted(study[0].slides)
    for result in results:
        fold = study[2].fold(result.fold)
        assert not {case_of[p.slide] for p in result.predictions["test"]} & {
            case_of[slide] for slide in fold.train + fold.val
        }
        for prediction in result.predictions["test"]:
            assert prediction.probabilities.sum() == pytest.approx(1, abs=1e-6)
            assert prediction.attention.sum() == pytest.approx(1, abs=1e-4)
        assert set(result.score_samples) == {"softmax", "nsf"}
        assert len(result.score_samples["nsf"]) == sum(len(bag) for bag in result.val[:8])
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize("model", ["asmil", "abmil"])
def test_any_number_of_workers_gives_the_same_bytes(study, tmp_path, model):
    """One, with two threads in this process before and after; two; and more than there are folds."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        folders = [run(study, tmp_path / str(n), seeds=(0, 1), workers=n, model=model) for n in (1, 2, 4)]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    first = folders[0].bytes()
    assert len(first) == 3 * 2 * 4
    assert all(other.bytes() == first for other in folders[1:])


def test_a_seed_more_or_less_changes_no_other_number(study, tmp_path):
    many = run(study, tmp_path / "many", seeds=(0, 1, 2))
    few = run(study, tmp_path / "few", seeds=(1,))
    np.testing.assert_allclose(many.probabilities(1), few.probabilities(1), atol=1e-5)
    assert np.abs(many.probabilities(1) - many.probabilities(0)).max() > 1e-3


def test_a_run_that_was_killed_goes_on_and_ends_bit_equal(study, tmp_path):
    unbroken = run(study, tmp_path / "unbroken", seeds=(0, 1))
    with pytest.raises(RunError, match="fold 1 seed 0, 1"):
        run(study, tmp_path / "broken", seeds=(0, 1), workers=2, keep=Folder(tmp_path / "broken", die_at="1_1"))
    done = {path.parent.name for path in (tmp_path / "broken").glob("*/predictions.csv")}
    assert "1_0" in done
    assert "1_1" not in done
    cohort, store, splits = study
    left = [(f, s) for f in splits.folds for s in (0, 1) if f"{f}_{s}" not in done]
    folder = Folder(tmp_path / "broken")
    crossval(
        cohort, store, splits, recipe=Recipe(model="asmil", settings=SETTINGS), cells=left, keep=folder.keep,
        checkpoints=tmp_path / "broken" / "checkpoints",
    )  # fmt: skip
    assert folder.bytes() == unbroken.bytes()


def test_progress_is_told_of_every_model_and_ends_at_the_end(study, tmp_path):
    for workers in (1, 2):
        last = {}

        def hear(fold, seed, *epochs, last=last):
            last[fold, seed] = epochs

        run(study, tmp_path / str(workers), seeds=(0, 1), workers=workers, progress=hear)
        assert set(last) == {(fold, seed) for fold in range(3) for seed in (0, 1)}
        assert all(done == total == 8 for done, total in last.values())


def test_models_without_attention_have_no_anchor(study, tmp_path):
    run(study, tmp_path, model="mean")
    assert not list(tmp_path.rglob("anchor.safetensors"))
    assert len(list(tmp_path.rglob("model.safetensors"))) == 3


def test_the_anchor_takes_the_features_of_the_model(study, tmp_path):
    run(study, tmp_path)
    model, anchor = (load_file(tmp_path / "0_0" / f"{name}.safetensors") for name in ("model", "anchor"))
    assert model.keys() == anchor.keys()
    assert torch.equal(model["mean"], anchor["mean"])


def test_trainings_that_diverge_are_named_and_the_others_kept(study, tmp_path):
    settings = TrainSettings(epochs=2, learning_rate=1e30, warmup_epochs=0, clip_norm=1e30)
    with pytest.raises(AsmilError, match=r"[23] of 3") as caught:
        run(study, tmp_path, model="mean", settings=settings)
    assert "fold 0 seed 0" in str(caught.value.found)
