"""A slide of a run: tiles in level-0 pixels, whatever the feature file keeps; pictures; attention."""

import h5py
import numpy as np
import pytest
import yaml

from asmil.errors import RunError
from asmil.runs import Run, picture_of


@pytest.fixture
def run(make_run, tmp_path):
    return make_run(tmp_path / "run", slides=6, epochs=2)


def test_coordinates_in_micrometres_become_level0_pixels(run):
    before = Run(run).slide("case-001_a").tiles
    with h5py.File(run / "features" / "case-001_a.h5") as file:
        features = file["features"][:]
    with h5py.File(run / "features" / "case-001_a.h5", "w") as file:  # as STAMP writes them
        file["feats"], file["coords"] = features, before.level0_xy * 0.25
        file.attrs.update(unit="um", tile_size_um=before.tile_level0_px * 0.25, tile_size_px=224, feat_type="tile")
    assert Run(run).slide("case-001_a").tiles is None, "without a scale there are no pixels"
    config = yaml.safe_load((run / "config.yaml").read_text()) | {"slide_mpp": 0.25}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    after = Run(run).slide("case-001_a").tiles
    np.testing.assert_array_equal(after.level0_xy, before.level0_xy)
    assert (after.tile_level0_px, after.slide_mpp) == (before.tile_level0_px, 0.25)
    assert after.slide_size == tuple(after.level0_xy.max(axis=0) + after.tile_level0_px), "as far as the tiles reach"
    assert before.slide_size == before.stated_size


def test_attention_is_that_of_the_models_that_tested_on_it(run):
    slide = Run(run).slide("case-001_a")
    (fold,) = {cell.fold for cell in Run(run).tested_on("case-001_a")}
    maps = []
    for seed in (0, 1):
        with h5py.File(run / "folds" / str(fold) / f"seed_{seed}" / "attention.h5") as file:
            maps.append(file["case-001_a"][:])
    np.testing.assert_allclose(slide.attentions, maps)
    np.testing.assert_allclose(slide.attention, np.mean(maps, axis=0), rtol=1e-6)
    assert Run(run).slide("nobody").attention is None


def test_without_a_thumbnail_there_is_an_empty_sheet_of_its_shape(run):
    assert picture_of(Run(run).slide("case-001_a").thumbnail, (300, 200)).std() > 1
    sheet = picture_of(run / "none.jpg", (300, 200))
    assert sheet.shape == (400, 600, 3)
    assert len(np.unique(sheet)) == 1
    (run / "thumbnails" / "case-001_a.jpg").write_bytes(b"no picture")
    with pytest.raises(RunError, match=r"case-001_a\.jpg cannot be read"):
        picture_of(Run(run).slide("case-001_a").thumbnail, (300, 200))


def test_a_slide_is_drawn_by_name_and_one_that_cannot_be_is_named(run):
    made = Run(run)
    figure = made.plot("case-001_a")
    assert len(figure.axes) >= 2 * 3
    assert figure.get_suptitle() == "case-001_a"
    with pytest.raises(RunError, match=r"case-001_b2 is no slide of .*did you mean"):
        made.plot("case-001_b2")


def test_every_table_of_a_run_is_a_data_frame(run):
    made = Run(run)
    assert list(made.scores) == ["metric", "value", "low", "high"]
    assert made.scores.set_index("metric").value["auroc"] == made.metrics["test"]["auroc"]["value"]
    assert list(made.logs.groupby(["fold", "seed"]).size().items()) == [
        ((cell.fold, cell.seed), len(cell.log())) for cell in made.cells()
    ]
    assert list(made.findings) == ["slide", "confidence", "x", "y"]
    assert made.patient_predictions.empty
