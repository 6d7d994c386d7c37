"""`asmil embed-slides` makes bags of one that are checked, trained on and predicted from like any features."""

import json

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

from asmil.bags import open_features

WIDTH = 768


def write_tiles(path, *, seed=0, count=20, **facts):
    """A file as `asmil embed` writes it, of tiles for CHIEF unless other facts are given."""
    rng = np.random.default_rng(seed)
    stated = {"format": "asmil", "name": path.stem, "encoder": "ctranspath", "tile_px": 256, "mpp": 1.0}
    stated |= {"slide_mpp": 0.25, "patch_size_level0": 1024, "settings": "{}"} | facts
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w") as file:
        features = rng.standard_normal((count, WIDTH)) + 2 * (seed % 2) * (np.arange(WIDTH) < 40)
        file["features"] = features.astype(np.float16)
        file["coords"] = np.stack([np.arange(count) % 5, np.arange(count) // 5], 1) * 1024
        file.attrs.update({name: value for name, value in stated.items() if value is not None})
    return path


@pytest.fixture(scope="session")
def chief(tmp_path_factory):
    """Weights of CHIEF's own size, random; the file and what is in it."""
    torch.manual_seed(0)
    shapes = {"0": (512, WIDTH), "3.attention_c": (1, 256)}
    shapes |= {f"3.attention_{part}.0": (256, 512) for part in "ab"}
    state = {f"attention_net.{name}.weight": 0.1 * torch.randn(shape) for name, shape in shapes.items()}
    state |= {f"attention_net.{name}.bias": torch.randn(shape[0]) for name, shape in shapes.items()}
    file = tmp_path_factory.mktemp("weights") / "CHIEF_pretraining.pth"
    torch.save(state, file)
    return file, {name.removeprefix("attention_net."): value.numpy() for name, value in state.items()}


@pytest.fixture
def embed(asmil, chief):
    def call(source, out, *flags, code=0, name="chief"):
        options = ["--slide-encoder", name, "--weights", chief[0], "--out", out, "--device", "cpu"]
        return asmil("embed-slides", source, *options, *flags, code=code)

    return call


def attention_of(weights, x):
    h = np.maximum(x @ weights["0.weight"].T + weights["0.bias"], 0)
    a, b = (h @ weights[f"3.attention_{part}.0.weight"].T + weights[f"3.attention_{part}.0.bias"] for part in "ab")
    scores = (np.tanh(a) / (1 + np.exp(-b))) @ weights["3.attention_c.weight"][0]
    return np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()


def test_each_slide_becomes_a_bag_of_one_that_says_what_made_it(embed, chief, tmp_path):
    for seed, name in enumerate("ab"):
        write_tiles(tmp_path / f"tiles/{name}.h5", seed=seed, weight_hash="0123")
    embed(tmp_path / "tiles", tmp_path / "out")
    tiles, made = open_features(tmp_path / "tiles"), open_features(tmp_path / "out")
    assert made.slides == ["a", "b"]
    for slide in made.slides:
        x = tiles.array(slide).astype(np.float64)
        np.testing.assert_allclose(made.array(slide), [attention_of(chief[1], x) @ x], rtol=1e-3, atol=1e-4)
        info = made.info(slide)
        facts = {"tile_encoder": "ctranspath", "slide_encoder": "chief", "tile_px": 256, "tile_weight_hash": "0123"}
        assert (info.tiles, info.dim, info.encoder, info.mpp, info.coordinates) == (1, WIDTH, "chief", 1.0, None)
        assert {name: info.provenance[name] for name in facts} == facts
        assert json.loads(info.provenance["settings"])["tile_weight_hash"] == "0123", "predict compares it"


def test_the_same_command_goes_on_and_sees_what_changed(embed, tmp_path):
    for seed, name in enumerate("ab"):
        write_tiles(tmp_path / f"tiles/{name}.h5", seed=seed)
    embed(tmp_path / "tiles", tmp_path / "out")
    files = [tmp_path / f"out/{name}.h5" for name in "ab"]
    before = [(file.stat().st_mtime_ns, file.read_bytes()) for file in files]
    write_tiles(tmp_path / "tiles/b.h5", seed=7)
    embed(tmp_path / "tiles", tmp_path / "out")
    after = [(file.stat().st_mtime_ns, file.read_bytes()) for file in files]
    assert after[0] == before[0]
    assert after[1][1] != before[1][1]
    files[0].write_bytes(before[0][1][:500])
    embed(tmp_path / "tiles", tmp_path / "out")
    assert open_features(tmp_path / "out").slides == ["a", "b"]


def test_one_bad_slide_is_named_and_the_others_are_done(embed, tmp_path):
    for name in "abc":
        write_tiles(tmp_path / f"tiles/{name}.h5")
    write_tiles(tmp_path / "tiles/coarse.h5", mpp=2.0)
    with h5py.File(tmp_path / "tiles/b.h5", "r+") as file:
        file["features"][3, 3] = np.nan
    (tmp_path / "tiles/c.h5").write_bytes((tmp_path / "tiles/a.h5").read_bytes()[:700])
    embed(tmp_path / "tiles", tmp_path / "out", code=1)
    assert open_features(tmp_path / "out").slides == ["a"]
    table = pd.read_csv(tmp_path / "out/failures.csv", index_col="name")["reason"]
    assert sorted(table.index) == ["b", "c", "coarse"]
    assert "NaN" in table["b"]
    assert "2 um/px, wanted 1" in table["coarse"]


@pytest.mark.parametrize(
    ("facts", "found"),
    [
        ({"encoder": "conch-v1-5"}, "encoder conch-v1-5, wanted ctranspath"),
        ({"tile_px": 224}, "tiles of 224 px, wanted 256 px"),
        ({"mpp": 0.5}, "0.5 um/px, wanted 1"),
    ],
)
def test_other_tiles_are_refused_whatever_is_assumed(embed, tmp_path, facts, found):
    write_tiles(tmp_path / "tiles/a.h5", **facts)
    for flags in ([], ["--assume-tiles"]):
        said = embed(tmp_path / "tiles", tmp_path / "out", *flags, code=2)
        assert "chief does not take these tiles" in said
        assert found in said
        assert "asmil embed --encoder ctranspath --tile-px 256 --mpp 1" in said
    assert not (tmp_path / "out").exists()


def test_another_width_and_overlapping_tiles_are_refused(embed, tmp_path):
    write_tiles(tmp_path / "tiles/a.h5", encoder="conch_v15", tile_px=512, mpp=0.5, overlap=64)
    assert "overlap by 64 px" in embed(tmp_path / "tiles", tmp_path / "out", code=2, name="titan")
    assert "768 features of a tile, wanted 2560" in embed(tmp_path / "tiles", tmp_path / "out", code=2, name="prism")


def test_tiles_that_say_nothing_are_taken_only_if_a_person_says_so(embed, tmp_path):
    write_tiles(tmp_path / "tiles/a.h5", encoder=None, tile_px=None, mpp=None, slide_mpp=None)
    said = embed(tmp_path / "tiles", tmp_path / "out", code=2)
    assert "not said: encoder (wanted ctranspath), tile side (wanted 256 px), scale (wanted 1 um/px)" in said
    embed(tmp_path / "tiles", tmp_path / "out", "--assume-tiles")
    assert open_features(tmp_path / "out").info("a").provenance["tile_encoder"] == "ctranspath (assumed)"


def test_tiles_of_trident_are_known_by_their_magnification(embed, tmp_path):
    def write(name, magnification):
        with h5py.File(tmp_path / f"tiles/{name}.h5", "w") as file:
            file["features"] = np.arange(4 * WIDTH, dtype=np.float32).reshape(4, WIDTH) % 7
            file["features"].attrs["encoder"] = "ctranspath"
            file["coords"] = np.arange(8).reshape(4, 2) * 1024
            file["coords"].attrs.update(patch_size=256, patch_size_level0=1024, target_magnification=magnification)

    (tmp_path / "tiles").mkdir()
    write("a", 10)
    embed(tmp_path / "tiles", tmp_path / "out")
    write("b", 20)
    assert "0.5 um/px, wanted 1" in embed(tmp_path / "tiles", tmp_path / "out", code=1)


def test_vectors_are_no_tiles(embed, tmp_path):
    write_tiles(tmp_path / "tiles/a.h5")
    embed(tmp_path / "tiles", tmp_path / "out")
    said = embed(tmp_path / "out", tmp_path / "again", code=2)
    assert "a is one vector of the slide already" in said


@pytest.fixture(scope="module")
def cohort(asmil, chief, tmp_path_factory):
    """Twelve slides of two classes: their tiles, vectors and labels."""
    folder = tmp_path_factory.mktemp("cohort")
    for seed in range(12):
        write_tiles(folder / f"tiles/s{seed:02d}.h5", seed=seed)
    names, labels = [f"s{seed:02d}" for seed in range(12)], ["no", "yes"] * 6
    pd.DataFrame({"slide_id": names, "label": labels}).to_csv(folder / "labels.csv", index=False)
    flags = ["--slide-encoder", "chief", "--weights", chief[0], "--device", "cpu"]
    asmil("embed-slides", folder / "tiles", "--out", folder / "vectors", *flags)
    return folder


@pytest.mark.parametrize("model", ["linear", "knn"])
def test_vectors_are_checked_trained_on_and_predicted_from(asmil, cohort, tmp_path, model):
    data = ["--features", cohort / "vectors", "--labels", cohort / "labels.csv"]
    assert "encoder chief" in asmil("check", *data)
    options = ["--model", model, "--folds", 2, "--seeds", 1, "--workers", 1, "--epochs", 3, "--out", tmp_path / "run"]
    asmil("crossval", *data, *options)
    asmil("evaluate", tmp_path / "run")
    asmil("report", tmp_path / "run")
    asmil("predict", tmp_path / "run", "--features", cohort / "vectors", "--out", tmp_path / "new")
    table = pd.read_csv(tmp_path / "new/predictions.csv").sort_values("slide")
    right = (table["prob_yes"] > 0.5).to_numpy() == np.array([False, True] * 6)
    assert right.mean() > 0.8


def test_tiles_are_refused_by_a_model_of_vectors_also_where_they_do_not_say_their_encoder(asmil, cohort, tmp_path):
    data = ["--features", cohort / "vectors", "--labels", cohort / "labels.csv"]
    options = ["--model", "linear", "--folds", 2, "--seeds", 1, "--workers", 1, "--epochs", 1]
    asmil("crossval", *data, *options, "--out", tmp_path / "run")
    write_tiles(tmp_path / "tiles/new.h5", encoder=None)
    said = asmil("predict", tmp_path / "run", "--features", tmp_path / "tiles", "--out", tmp_path / "new", code=2)
    table = (tmp_path / "new/failures.csv").read_text() + said
    assert "features_of is tiles, the run was trained with slides" in table
    assert "asmil embed-slides FEATURES --slide-encoder chief" in table


def test_what_cannot_be_learned_from_becomes_no_vector(embed, tmp_path):
    """Tiles that are all the same are refused as in training; where nothing is left, the command is not done."""
    write_tiles(tmp_path / "tiles/a.h5")
    with h5py.File(write_tiles(tmp_path / "tiles/b.h5"), "r+") as file:
        file["features"][:] = 1
    assert "b.h5 has the same features for all of its 20 tiles" in embed(tmp_path / "tiles", tmp_path / "out", code=1)
    assert open_features(tmp_path / "out").slides == ["a"]
    (tmp_path / "tiles/a.h5").unlink()
    assert "no slide could be used" in embed(tmp_path / "tiles", tmp_path / "none", code=2)


def test_vectors_of_an_earlier_call_are_told(embed, tmp_path):
    for seed, name in enumerate("ab"):
        write_tiles(tmp_path / f"tiles/{name}.h5", seed=seed)
    assert "also holds" not in embed(tmp_path / "tiles", tmp_path / "out")
    with h5py.File(tmp_path / "tiles/b.h5", "r+") as file:
        file["features"][3, 3] = np.nan
    said = embed(tmp_path / "tiles", tmp_path / "out", code=1)
    assert "also holds features that this call did not write: b" in said
