"""`asmil convert` takes every readable slide over and names the others."""

import time

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from asmil.bags import open_features
from asmil.cli import app


def write(path, seed):
    with h5py.File(path, "w") as file:
        file["features"] = np.random.default_rng(seed).standard_normal((9, 5)).astype(np.float32)
        file["coords"] = np.array([(x * 512, y * 512) for x in range(3) for y in range(3)])


def convert(*arguments):
    return CliRunner().invoke(app, ["convert", *map(str, arguments)])


def test_one_bad_file_never_stops_the_others(tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    write(source / "a.h5", 0)
    write(source / "b.h5", 1)
    (source / "cut.h5").write_bytes((source / "a.h5").read_bytes()[:700])
    with h5py.File(source / "b.h5", "r+") as file:
        file["features"][2, 2] = np.nan
    result = convert(source, "--to", "asmil", "--out", out)
    assert result.exit_code == 1
    assert open_features(out).slides == ["a"]
    table = (out / "failures.csv").read_text()
    assert 'b,failed,convert,"b.h5 holds NaN' in table
    assert "cut,failed,read," in table
    assert "cut.h5" in table.partition("cut,failed,read,")[2]


def test_the_scale_of_each_slide_comes_from_the_table(tmp_path):
    source, out, labels = tmp_path / "in", tmp_path / "out", tmp_path / "labels.csv"
    source.mkdir()
    for index, name in enumerate("abc"):
        write(source / f"{name}.h5", index)
    labels.write_text("slide_id,case_id,label,mpp\na,1,x,0.25\nb,2,y,0.5\n")
    assert convert(source, "--to", "stamp", "--out", out).exit_code == 2, "nothing says a scale"
    result = convert(source, "--to", "stamp", "--out", out, "--labels", labels, "--tile-px", 224)
    assert result.exit_code == 0, result.output
    store = open_features(out)
    assert store.slides == ["a", "b"]
    assert [store.info(slide).tile_um for slide in store.slides] == [128, 256]


def test_an_unknown_layout_is_answered_with_the_known_ones(tmp_path):
    write(tmp_path / "a.h5", 0)
    result = convert(tmp_path / "a.h5", "--to", "clamm", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "anndata, asmil, clam, stamp, torchmil, trident" in result.output


@pytest.mark.parametrize("layout", ["asmil", "clam", "stamp", "trident"])
def test_what_is_converted_twice_is_equal_to_the_last_byte(tmp_path, layout):
    source = tmp_path / "in"
    source.mkdir()
    write(source / "a.h5", 0)
    options = ("--slide-mpp", 0.5, "--tile-px", 512)
    made = []
    for out in (tmp_path / "one", tmp_path / "two"):
        assert convert(source, "--to", layout, "--out", out, *options).exit_code == 0
        made.append({path.relative_to(out): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()})
        time.sleep(1.1)  # HDF5 and zip keep times in seconds
    assert made[0] == made[1]


def test_of_what_asmil_made_only_features_are_read(tmp_path):
    """Attention and recordings lie in HDF5 files too: of a run, of its models, of predictions."""
    for kind, names in {"run": ["config.yaml", "environment.json", "verdicts.csv"],
                        "cell": ["model.safetensors", "sealed.json"],
                        "run/folds/0/seed_0": ["sealed.json"], "run/predictions": ["predictions.csv"],
                        "predicted": ["predictions.csv"]}.items():  # fmt: skip
        (tmp_path / kind / "features").mkdir(parents=True)
        for name in names:
            (tmp_path / kind / name).write_text("{}")
        with h5py.File(tmp_path / kind / "attention.h5", "w") as file:
            file["s1"] = np.full(9, 1 / 9, np.float32)
    for source in ("run", "predicted"):
        write(tmp_path / source / "features" / "s1.h5", 0)
        result = convert(tmp_path / source, "--to", "asmil", "--out", tmp_path / f"of_{source}")
        assert (result.exit_code, open_features(tmp_path / f"of_{source}").slides) == (0, ["s1"]), result.output
    result = convert(tmp_path / "cell", "--to", "asmil", "--out", tmp_path / "none")
    assert result.exit_code == 2
    assert "no tile features in" in result.output


def test_what_converts_nothing_is_not_done(tmp_path):
    """As of `asmil embed` and `predict`: exit code 1 is of what is done in part."""
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "a.h5", 0)
    with h5py.File(tmp_path / "in" / "a.h5", "r+") as file:
        file["features"][2, 2] = np.nan
    result = convert(tmp_path / "in", "--to", "asmil", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "no slide could be used" in result.output
    assert "a,failed,convert,a.h5 holds NaN" in (tmp_path / "out/failures.csv").read_text().replace('"', "")


@pytest.mark.parametrize("layout", ["asmil", "stamp"])
def test_features_that_float16_rounds_away_are_refused(tmp_path, layout):
    """All of a slide of 1e-9 became zeros, without a word; float32 keeps them."""
    for name, scale in {"a": 1, "tiny": 1e-9, "small": 1e-6}.items():
        write(tmp_path / f"{name}.h5", 0)
        with h5py.File(tmp_path / f"{name}.h5", "r+") as file:
            file["features"][:] *= scale
    options = ("--slide-mpp", 0.5, "--tile-px", 512)
    result = convert(tmp_path, "--to", layout, "--out", tmp_path.parent / f"of_{layout}", *options)
    assert result.exit_code == 1
    assert open_features(tmp_path.parent / f"of_{layout}").slides == ["a"]
    assert "the features of tiny do not fit float16. Found: the largest value is 2" in result.output
    out = tmp_path.parent / f"whole_{layout}"
    assert convert(tmp_path, "--to", "clam", "--out", out, *options).exit_code == 0
    np.testing.assert_allclose(open_features(out).array("tiny"), open_features(tmp_path).array("tiny"))


def test_overlap_is_kept_and_found_by_the_places(tmp_path):
    """CLAM does not say it; TRIDENT's folder names it, and said 0."""
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "a.h5", 0)
    with h5py.File(tmp_path / "in" / "a.h5", "r+") as file:
        file["coords"].attrs.update(patch_size=1024, patch_level=0)
    options = ("--slide-mpp", 0.5, "--tile-px", 256)
    assert convert(tmp_path / "in", "--to", "trident", "--out", tmp_path / "trident", *options).exit_code == 0
    assert [path.name for path in (tmp_path / "trident").glob("*_overlap")] == ["5x_256px_128px_overlap"]
    assert convert(tmp_path / "trident", "--to", "asmil", "--out", tmp_path / "asmil").exit_code == 0
    assert open_features(tmp_path / "asmil").info("a").provenance["overlap"] == 128
    assert convert(tmp_path / "asmil", "--to", "trident", "--out", tmp_path / "again").exit_code == 0
    assert [path.name for path in (tmp_path / "again").glob("*_overlap")] == ["5x_256px_128px_overlap"]


def test_what_an_earlier_call_left_is_told(tmp_path):
    """Who trains on the folder takes it: of a slide whose file is damaged now, and of other features."""
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for seed, name in enumerate("ab"):
        write(source / f"{name}.h5", seed)
    assert "also holds" not in convert(source, "--to", "asmil", "--out", out).output
    assert "also holds" not in convert(source, "--to", "asmil", "--out", out).output
    (source / "b.h5").write_bytes((source / "b.h5").read_bytes()[:700])
    result = convert(source, "--to", "asmil", "--out", out)
    assert result.exit_code == 1
    assert f"{out} also holds features that this call did not write: b" in result.output
    (tmp_path / "wide").mkdir()
    with h5py.File(tmp_path / "wide" / "c.h5", "w") as file:
        file["features"] = np.random.default_rng(0).standard_normal((9, 7)).astype(np.float32)
    result = convert(tmp_path / "wide", "--to", "asmil", "--out", out)
    assert "this call did not write: a, b" in result.output
    assert "c was written, and cannot be used: dimension 7, most slides have 5" in result.output


@pytest.mark.parametrize("layout", ["clam", "trident", "stamp", "torchmil", "anndata"])
def test_a_slide_without_places_is_not_told_to_state_a_scale(tmp_path, layout):
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "a.h5", 0)
    write(tmp_path / "in" / "b.h5", 1)
    with h5py.File(tmp_path / "in" / "a.h5", "r+") as file:
        del file["coords"]
    result = convert(tmp_path / "in", "--to", layout, "--out", tmp_path / "out", "--slide-mpp", 0.5, "--tile-px", 512)
    assert result.exit_code == 1
    assert "a has no coordinates of its tiles" in result.output
    assert "use --to asmil, which does without" in result.output
