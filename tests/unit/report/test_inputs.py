"""What a report reads of a run: tiles in level-0 pixels, whatever the feature file keeps."""

import importlib.util
from pathlib import Path

import h5py
import numpy as np
import yaml

from asmil.report.inputs import RunFiles

_SPEC = importlib.util.spec_from_file_location("fake_run", Path(__file__).with_name("fake_run.py"))
fake_run = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(fake_run)


def test_coordinates_in_micrometres_become_level0_pixels(tmp_path):
    run = fake_run.write_fake_run(tmp_path / "run", slides=6, epochs=2)
    before = RunFiles(run).tiles("case-001_a")
    with h5py.File(run / "features" / "case-001_a.h5") as file:
        features = file["features"][:]
    with h5py.File(run / "features" / "case-001_a.h5", "w") as file:  # as STAMP writes them
        file["feats"], file["coords"] = features, before.level0_xy * 0.25
        file.attrs.update(unit="um", tile_size_um=before.tile_level0_px * 0.25, tile_size_px=224, feat_type="tile")
    assert RunFiles(run).tiles("case-001_a") is None, "without a scale there are no pixels"
    config = yaml.safe_load((run / "config.yaml").read_text()) | {"slide_mpp": 0.25}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    after = RunFiles(run).tiles("case-001_a")
    np.testing.assert_array_equal(after.level0_xy, before.level0_xy)
    assert (after.tile_level0_px, after.slide_mpp) == (before.tile_level0_px, 0.25)
