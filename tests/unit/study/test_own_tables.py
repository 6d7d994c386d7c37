"""Studies of a table of one's own: what is left out, refused and told."""

import re

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from asmil.cli import app

from .conftest import DIGITS, STUDY


def _own_study(folder, write):
    """A study of 14 rows of a table and 13 files of features, of which `write` may change values, places and facts."""
    random, features = np.random.default_rng(0), folder / "features"
    features.mkdir()
    for i in range(13):
        values, xy = random.standard_normal((20, 32)).astype(np.float32), np.arange(40).reshape(20, 2) * 256
        facts = {"patch_size_level0": 256}
        write(i, values, xy, facts)
        with h5py.File(features / f"s{i}.h5", "w") as file:
            file["features"], file["coords"] = values, xy
            file["coords"].attrs.update(facts)
    rows = "".join(f"s{i},p{i},{'ab'[i % 2]}\n" for i in range(14))
    (folder / "labels.csv").write_text(f"slide,patient,label\n{rows}")
    text = STUDY.replace(DIGITS, f"{{name: own, features: {features}, root: {folder / 'labels.csv'}}}")
    (folder / "own.yaml").write_text(text)
    return features, ["study", str(folder / "own.yaml"), "--out", str(folder / "out")]


def test_what_is_left_out_of_a_table_and_odd_features_are_told(training, tmp_path):
    """A study of one's own table: a damaged file is a failure of that slide, and the exit code says so."""

    def write(i, values, xy, facts):
        if i == 0:
            values[7] = 1.5
            xy[5] = xy[4]
            values *= 12
        if i == 1:
            values[:] = values[0]
        if i == 11:
            values[3, 4] = np.nan
        if i == 3:
            xy[:] = 0
        facts["mpp"] = 0.25 if i == 2 else 0.5

    features, command = _own_study(tmp_path, write)
    (features / "s12.h5").write_bytes((features / "s12.h5").read_bytes()[:3000])
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1
    said = " ".join(result.output.split())
    assert "own s12 failed data s12.h5 cannot be read" in said
    assert "own s13 noted data has a label but no file" in said
    assert "own: features are of very different sizes" in said
    assert "own: tiles whose features are one number throughout, as padding" in said
    assert "1 in 1 slide: s0 1 of 20" in said
    assert "own: tiles at a place that another tile of the slide has" in said
    assert "own s1 failed data s1.h5 has the same features for all of its 20 tiles" in said
    assert "own s11 failed data" in said
    assert "own: tiles that are all at one place, and are read as tiles without places (1 of 10 slides: s3)" in said
    assert "own: tiles are of several scales, and all are learned from" in said
    assert training.calls


@pytest.mark.parametrize("option", ["features: 5", "root: [a.csv]", "annotations: 7", "positive: tumour"])
def test_an_option_of_another_kind_is_no_fault_of_ours(training, tmp_path, option):
    _, command = _own_study(tmp_path, lambda *given: None)
    text, name = (tmp_path / "own.yaml").read_text(), option.split(":")[0]
    text = re.sub(rf" {name}: [^,}}]*(, )?", " ", text).replace("{name: own,", f"{{name: own, {option}, ")
    (tmp_path / "own.yaml").write_text(text)
    result = CliRunner().invoke(app, command)
    assert (result.exit_code, training.calls) == (2, [])
    assert f"own: {name} cannot be of the type" in " ".join(result.output.split())


def test_what_to_do_is_said_in_the_words_of_the_file(training, tmp_path):
    _, command = _own_study(tmp_path, lambda *given: None)
    labels = tmp_path / "labels.csv"
    labels.write_text(labels.read_text().replace("slide,patient,label", "slide,patient,response"))
    result = CliRunner().invoke(app, command)
    said = " ".join(result.output.split())
    assert result.exit_code == 2
    assert "label_column" in said
    assert "--label" not in said


def test_features_of_several_encoders_are_refused(training, tmp_path):
    def write(i, values, xy, facts):
        facts["encoder"] = "uni" if i else "conch"

    _, command = _own_study(tmp_path, write)
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2
    assert "the features are of several encoders" in " ".join(result.output.split())
    assert not training.calls
