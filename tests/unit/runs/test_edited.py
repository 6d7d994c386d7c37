"""A run folder that was edited, cut or damaged: reading it is an error that names the file, never a traceback."""

import json
import shutil
from contextlib import suppress

import h5py
import numpy as np
import pytest
from safetensors.numpy import save_file

from asmil.errors import AsmilError, RunError
from asmil.runs import Run

GARBAGE = {
    "empty": b"",
    "text": b"hello, world\n",
    "bytes": bytes(range(256)) * 4,
    "list": b"[]\n",
    "number": b"7",
    "half an object": b'{"a": ',
    "deep": b"[" * 100_000,
}


@pytest.fixture(scope="module")
def evaluated(made, tmp_path_factory):
    """A run without seals and with results: its files are read as they are."""
    run = Run(shutil.copytree(made[1].folder, tmp_path_factory.mktemp("evaluated") / "run"))
    for path in run.folder.glob("folds/*/*/sealed.json"):
        path.unlink()
    table = run.cell_predictions.query("part == 'test'").drop_duplicates("slide")
    run.write_results({"test": {"auroc": {"value": 0.9, "ci95": [0.8, 1.0]}}}, table.drop(columns=["part", "seed"]))
    return run


@pytest.fixture
def old(evaluated, tmp_path):
    """A copy of it to spoil."""
    return Run(shutil.copytree(evaluated.folder, tmp_path / "run"))


READERS = {
    "config.yaml": lambda run: run.settings,
    "identity.json": lambda run: run.identity,
    "environment.json": lambda run: run.environment,
    "task.json": lambda run: (run.task, run.classes),
    "cohort.csv": lambda run: run.cohort,
    "splits.csv": lambda run: run.splits,
    "metrics.json": lambda run: run.metrics,
    "predictions.csv": lambda run: run.predictions,
    "profile.json": lambda run: run.profile,
    "features/run.json": lambda run: run.features,
    "failures.csv": lambda run: run.failures,
}
OF_A_CELL = {
    "predictions.csv": lambda cell: cell.predictions(),
    "log.csv": lambda cell: cell.log(),
    "attention.h5": lambda cell: cell.attentions(),
    "dynamics.h5": lambda cell: (cell.recorded(), cell.embeddings()),
    "scores.h5": lambda cell: cell.score_samples(),
    "model.safetensors": lambda cell: cell.best_epoch,
}


def refused(read, path) -> RunError:
    with pytest.raises(RunError) as error:
        read()
    assert str(path) in str(error.value)
    assert error.value.fix
    return error.value


@pytest.mark.parametrize("kind", GARBAGE)
@pytest.mark.parametrize("name", READERS)
def test_a_file_of_the_run(old, name, kind):
    path = old.folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(GARBAGE[kind])
    refused(lambda: READERS[name](Run(old.folder)), path)


def _spoiled(value, wrong):
    """The same names and values with `wrong` in the place of each in turn."""
    for name, inner in value.items():
        yield value | {name: wrong}
        if isinstance(inner, dict):
            yield from (value | {name: other} for other in _spoiled(inner, wrong))


def test_a_value_of_another_kind_in_what_decided_the_results(old):
    """Found by fuzzing: a number in the place of a bag's content was a traceback."""
    path, told = old.folder / "identity.json", 0
    data = {
        "cohort": {"s0": ["p0", "a"]},
        "splits": "b",
        "task": None,
        "features": {"s0": ["a", 4, 3, "b"], "s1": ["c", 4, 3, "d"]},
    }
    said = {"model": "abmil", "code": "1", "data": data | {"tables": {}, "twins": {}}}
    for wrong in (7, [3], None, "x", {}):
        for spoiled in _spoiled(said, wrong):
            path.write_text(json.dumps(spoiled))
            try:
                repr(Run(old.folder)), Run(old.folder).facts(), Run(old.folder).standing()
            except AsmilError:
                told += 1
    assert told


def test_a_row_of_lists_and_classes_that_are_none(old):
    """Found by fuzzing, as what follows."""
    path = old.folder / "identity.json"
    for row in ([["p0"], "a"], "p0", {"case": "p0"}):
        path.write_text(json.dumps({"model": "abmil", "data": {"cohort": {"s0": row}, "features": {}}}))
        refused(lambda: Run(old.folder).identity, path)
    said = json.loads((old.folder / "task.json").read_text())
    for classes in (5, "ab", {"a": 1}, ["a", "a"]):
        (old.folder / "task.json").write_text(json.dumps(said | {"options": {"classes": classes}}))
        refused(lambda: Run(old.folder).classes, old.folder / "task.json")


def test_a_table_of_slides_or_a_content_of_another_shape(old):
    path = old.folder / "identity.json"
    for data in ({"cohort": "s0"}, {"cohort": 5}, {"features": {"s0": ["a", 4, 3]}}, {"features": {"s0": []}}):
        path.write_text(json.dumps({"model": "abmil", "data": data}))
        assert "data." in str(refused(lambda: Run(old.folder).identity, path).found)


@pytest.mark.parametrize("fold", ["inf", "1.5", "1e300", "-inf"])
def test_folds_that_are_no_whole_numbers(old, fold):
    path = old.folder / "splits.csv"
    head, first, *others = path.read_text().splitlines()
    cells = dict(zip(head.split(","), first.split(","), strict=True)) | {"fold": fold}
    path.write_text("\n".join([head, ",".join(cells.values()), *others]) + "\n")
    refused(lambda: Run(old.folder).splits, path)


def test_a_seal_of_endless_files_is_none(made, tmp_path):
    run = Run(shutil.copytree(made[1].folder, tmp_path / "run"))
    path = run.cell(0, 0).folder / "sealed.json"
    said = json.loads(path.read_text())
    for one in said["files"].values():
        one["bytes"] = float("inf")
    path.write_text(json.dumps(said))
    with pytest.raises(RunError, match=r"sealed\.json"):
        run.require_whole()


def _claim(file, name, shape):
    kind = file[name].dtype
    del file[name]
    file.create_dataset(name, shape, kind, chunks=(1 << 10, *shape[1:]), maxshape=shape)


def test_scores_and_epochs_that_claim_more_than_their_file_holds(old):
    cell = old.cell(0, 0)
    with h5py.File(cell.folder / "scores.h5", "a") as file:
        _claim(file, "nsf", (1 << 40, 24))
    refused(cell.score_samples, cell.folder / "scores.h5")
    for name in ("epoch", "slide"):
        path = cell.folder / "dynamics.h5"
        kept = path.read_bytes()
        with h5py.File(path, "a") as file:
            _claim(file[".embeddings"], name, (1 << 40,))
        refused(cell.embeddings, path)
        path.write_bytes(kept)


def test_attention_of_a_billion_tiles_in_a_small_file(old):
    cell = old.cell(0, 0)
    with h5py.File(cell.folder / "attention.h5", "a") as file:
        name = next(iter(file))
        del file[name]
        file.create_dataset(name, (1 << 40,), np.float32, chunks=(1 << 16,))
    assert "4,398,046,511,104 bytes" in str(refused(cell.attentions, cell.folder / "attention.h5").found)


@pytest.mark.parametrize("kind", GARBAGE)
@pytest.mark.parametrize("name", OF_A_CELL)
def test_a_file_of_a_cell(old, name, kind):
    cell = old.cell(0, 0)
    (cell.folder / name).write_bytes(GARBAGE[kind])
    refused(lambda: OF_A_CELL[name](cell), cell.folder / name)


@pytest.mark.parametrize("name", [name for name in OF_A_CELL if name.endswith((".h5", ".safetensors"))])
def test_a_file_that_was_cut(old, name):
    cell = old.cell(0, 0)
    content = (cell.folder / name).read_bytes()
    for share in (0.1, 0.5, 0.9):
        (cell.folder / name).write_bytes(content[: int(share * len(content))])
        refused(lambda: OF_A_CELL[name](cell), cell.folder / name)


@pytest.mark.parametrize("name", [name for name in OF_A_CELL if name.endswith(".h5")])
def test_flipped_bits_are_an_error_or_nothing(old, name):
    """Not every bit matters; none of them makes anything but a RunError."""
    cell = old.cell(0, 0)
    content = (cell.folder / name).read_bytes()
    for at in np.random.default_rng(0).integers(0, len(content), 60):
        flipped = bytearray(content)
        flipped[at] ^= 0xFF
        (cell.folder / name).write_bytes(flipped)
        with suppress(RunError):
            OF_A_CELL[name](cell)


def _group(file, slide):
    file.create_group(slide)


def _link(file, slide):
    file[slide] = h5py.SoftLink("/nowhere")


def _words(file, slide):
    file[slide] = "even"


def _plane(file, slide):
    file[slide] = np.ones((2, 3), np.float32)


def _nothing(file, slide):
    file[slide] = h5py.Empty("f4")


@pytest.mark.parametrize("put", [_group, _link, _words, _plane, _nothing])
def test_attention_that_is_none(old, put):
    cell = old.cell(0, 0)
    slide = cell.predictions()["slide"].iloc[0]
    with h5py.File(cell.folder / "attention.h5", "w") as file:
        put(file, slide)
    refused(lambda: cell.attentions(), cell.folder / "attention.h5")
    refused(lambda: cell.attention(slide), cell.folder / "attention.h5")


@pytest.mark.parametrize(
    "metrics",
    [{"test": []}, {"test": {"auroc": 0.9}}, {"test": {"auroc": {"value": "high"}}}, {"attention": [1]},
     {"test": {"auroc": {"value": 1, "ci95": 3}}}, {"per_fold": {"0": 1}}, {"classes": "ab"}, {"seconds": "long"},
     {"protocol": []}, {"confusion": 3}, {"per_seed": {"spread": []}}, {"patients": {"test": 1}},
     {"operating_point": {"positive": "b"}}, {"each_class": {"a": {"auroc": 1}}}],
)  # fmt: skip
def test_metrics_of_another_shape(old, metrics):
    path = old.folder / "metrics.json"
    path.write_text(json.dumps(metrics))
    error = refused(lambda: Run(old.folder).metrics, path)
    assert next(iter(metrics)) in error.found
    assert error.fix == f"asmil evaluate {old.folder}"


@pytest.mark.parametrize("column", ["prob_tumour", "fold"])
def test_text_in_the_place_of_a_number(old, column):
    for path, read in ((old.folder / "predictions.csv", lambda: Run(old.folder).predictions),
                       (old.cell(0, 0).folder / "predictions.csv", old.cell(0, 0).predictions)):  # fmt: skip
        lines = path.read_text().splitlines()
        place = lines[0].split(",").index(column) if column in lines[0] else None
        if place is None:
            continue
        cells = lines[1].split(",")
        cells[place] = "high"
        path.write_text("\n".join([lines[0], ",".join(cells), *lines[2:]]))
        assert column in str(refused(read, path))


def test_a_probability_that_is_blank(old):
    path = old.folder / "predictions.csv"
    table = old.predictions.copy()
    table.loc[0, "prob_tumour"] = np.nan
    table.to_csv(path, index=False)
    assert "prob_tumour" in str(refused(lambda: Run(old.folder).predictions, path))


@pytest.mark.parametrize("said", [{"name": "regression"}, {"name": "no such task", "options": {}},
                                  {"name": "ordinal", "options": {"colour": "red"}}, {"options": 3}])  # fmt: skip
def test_a_task_that_is_none(old, said):
    (old.folder / "task.json").write_text(json.dumps(said))
    assert "names no task of asmil" in str(refused(lambda: Run(old.folder).task, old.folder / "task.json"))


@pytest.mark.parametrize(
    "settings", ["- a\n- b\n", "model: [1]\n", "epochs: -3\n", "colour: red\n", "!!python/name:os\n"]
)
def test_settings_that_are_none(old, settings):
    (old.folder / "config.yaml").write_text(settings)
    refused(lambda: Run(old.folder).settings, old.folder / "config.yaml")


@pytest.mark.parametrize("tensors", [{}, {"mean": np.zeros(())}, {"mean": np.zeros(3), "other": np.zeros(2)}])
def test_weights_of_another_shape(old, tensors):
    path = old.cell(0, 0).folder / "model.safetensors"
    save_file({name: value.astype(np.float32) for name, value in tensors.items()}, path)
    refused(lambda: old.cell(0, 0).model(old.settings, 2), path)
