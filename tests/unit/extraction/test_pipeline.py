"""The pipeline gives every slide what it would get alone, whatever is wrong with the others."""

import json
import threading
import time
from dataclasses import asdict, replace

import numpy as np
import pytest
from PIL import Image
from shapely.geometry import box, mapping

from asmil.errors import EncoderError
from asmil.extraction import extract_slides, store_name
from asmil.extraction.pipeline import IN_FLIGHT


def _stores(folder):
    return sorted(path.name for path in (folder / "features").iterdir())


def _paths(results):
    return [(result.path, result.result) for result in results]


def test_each_slide_gets_what_it_would_get_alone(pieces, settings, colour, features_of, tmp_path):
    encoder, since = colour(), time.perf_counter()
    results = list(extract_slides(pieces, tmp_path / "all", encoders=[encoder], settings=settings, batch_size=16))
    assert 0 <= sum(result.waiting for result in results) <= time.perf_counter() - since
    assert _paths(results) == [(path, "ok") for path in pieces]
    store = store_name(settings, encoder)
    for path, result in zip(pieces, results, strict=True):
        list(extract_slides([path], tmp_path / "one", encoders=[encoder], settings=settings, batch_size=7))
        features, coords = features_of(tmp_path / "all" / "features" / store / f"{path.stem}.h5")
        alone = features_of(tmp_path / "one" / "features" / store / f"{path.stem}.h5")
        np.testing.assert_allclose(features, alone[0], rtol=2e-3, atol=2e-3)
        np.testing.assert_array_equal(coords, alone[1])
        assert (result.name, result.tiles, result.reader) == (path.stem, len(features), "image")


def test_small_slides_share_batches(pieces, settings, colour, tmp_path):
    encoder = colour()
    results = list(extract_slides(pieces[1:4], tmp_path, encoders=[encoder], settings=settings, batch_size=64))
    assert encoder.batches == [sum(result.tiles for result in results)] == [12]


def test_a_store_says_what_it_holds_and_other_settings_make_another(pieces, settings, colour, tmp_path):
    for changed in (settings, replace(settings, overlap_px=8), replace(settings, min_area_um2=1.0), settings):
        list(extract_slides(pieces[1:2], tmp_path, encoders=[colour()], settings=changed))
    stores = _stores(tmp_path)
    assert len(stores) == 3
    assert all(name.startswith("colour_32px_1mpp_") for name in stores)
    identity = json.loads((tmp_path / "features" / store_name(settings, colour()) / "store.json").read_text())
    own = {"encoder": "colour", "weight_hash": "1", "precision": "fp32"}
    assert identity == own | json.loads(json.dumps(asdict(settings)))


def test_what_is_finished_is_kept_and_only_the_missing_encoder_runs(pieces, settings, colour, features_of, tmp_path):
    first, second = colour(), colour("double", factor=2.0)
    list(extract_slides(pieces[:2], tmp_path, encoders=[first], settings=settings))
    before = list(first.batches)
    results = list(extract_slides(pieces[:3], tmp_path, encoders=[first, second], settings=settings))
    assert _paths(results) == [(path, "ok") for path in pieces[:3]]
    assert sum(first.batches[len(before) :]) == results[2].tiles
    assert sum(second.batches) == sum(result.tiles for result in results)
    for path in pieces[:3]:
        one, two = (features_of(tmp_path / "features" / name / f"{path.stem}.h5")[0] for name in _stores(tmp_path))
        np.testing.assert_allclose(two, 2 * one.astype(np.float32), rtol=1e-3)
    again = list(extract_slides(pieces[:3], tmp_path, encoders=[first, second], settings=settings))
    assert [(r.result, r.tiles) for r in again] == [("kept", r.tiles) for r in results]


def test_an_edited_tissue_file_is_used(pieces, settings, colour, tmp_path):
    [found] = extract_slides(pieces[:1], tmp_path, encoders=[colour()], settings=settings)
    drawn = {"type": "Feature", "geometry": mapping(box(0, 0, 64, 64)), "properties": {}}  # as QuPath exports it
    file = tmp_path / "tissue" / "piece0.geojson"
    file.write_text(json.dumps({"type": "FeatureCollection", "features": [drawn]}))
    [edited] = extract_slides(pieces[:1], tmp_path, encoders=[colour()], settings=settings)
    assert [(r.result, r.tiles) for r in (found, edited)] == [("ok", 80), ("ok", 4)]


def test_what_is_wrong_with_one_slide_does_not_stop_the_others(pieces, settings, colour, tmp_path):
    (tmp_path / "empty.svs").touch()
    (tmp_path / "text.svs").write_text("not a slide")
    Image.new("RGB", (16, 16), "pink").save(tmp_path / "small.png")
    (tmp_path / "tissue").mkdir()
    (tmp_path / "tissue" / "piece2.geojson").write_text("{}")
    same = tmp_path / "other" / pieces[0].name
    bad = [tmp_path / "empty.svs", tmp_path / "absent.svs", tmp_path / "text.svs", tmp_path / "small.png", same]
    paths = [pieces[0], *bad, pieces[2], pieces[3]]
    results = list(extract_slides(paths, tmp_path, encoders=[colour()], settings=settings))
    wanted = ["ok", "failed", "failed", "failed", "skipped", "failed", "failed", "ok"]
    assert _paths(results) == list(zip(paths, wanted, strict=True))
    reasons = ["", "empty", "no such slide", "no reader", "smaller than one tile", "same name", "tissue", ""]
    for result, reason in zip(results, reasons, strict=True):
        assert reason in result.reason if reason else not result.reason, result


class _NanOn:
    """Not finite on tiles that are one plain colour."""

    def __init__(self, encoder):
        self.encoder, self.card, self.weight_hash, self.device = encoder, encoder.card, "nan", encoder.device
        self.precision = encoder.precision

    def __call__(self, tiles):
        vectors = self.encoder(tiles)
        vectors[vectors[:, 3:].sum(1) == 0] = float("nan")
        return vectors


def test_an_encoder_that_fails_on_one_slide_of_a_batch(pieces, settings, colour, tmp_path):
    Image.new("RGB", (64, 64), "pink").save(tmp_path / "plain.png")
    paths = [pieces[1], tmp_path / "plain.png", pieces[2]]
    encoder = _NanOn(colour())
    results = list(extract_slides(paths, tmp_path, encoders=[encoder], settings=settings))
    assert encoder.encoder.batches == [12]
    assert [result.result for result in results] == ["ok", "failed", "ok"]
    assert "4 of 4 tiles" in results[1].reason
    assert not list(tmp_path.rglob("plain.h5"))


class _Breaks:
    """Raises an error that is no slide's after some batches."""

    def __init__(self, encoder, *, after, error):
        self.encoder, self.card, self.weight_hash, self.device = encoder, encoder.card, "-", encoder.device
        self.precision = encoder.precision
        self.after, self.error = after, error

    def __call__(self, tiles):
        if len(self.encoder.batches) == self.after:
            raise self.error
        return self.encoder(tiles)


@pytest.mark.parametrize("error", [RuntimeError("a bug"), KeyboardInterrupt()])
def test_a_bug_is_raised_after_what_is_complete_was_written(pieces, settings, colour, tmp_path, error):
    encoder = _Breaks(colour(), after=10, error=error)  # ten batches of eight tiles are the first piece
    before = set(threading.enumerate())
    with pytest.raises(type(error)):
        list(extract_slides(pieces, tmp_path, encoders=[encoder], settings=settings, batch_size=8))
    assert [path.stem for path in tmp_path.rglob("*.h5")] == ["piece0"]
    assert set(threading.enumerate()) <= before
    results = list(
        extract_slides(pieces, tmp_path, encoders=[_Breaks(colour(), after=-1, error=error)], settings=settings)
    )
    assert [result.result for result in results] == ["kept"] + ["ok"] * 5


def test_a_bug_in_a_thread_is_raised(pieces, settings, colour, tmp_path):
    def settings_of(slide):
        raise ZeroDivisionError(slide)

    with pytest.raises(ZeroDivisionError):
        list(extract_slides(pieces, tmp_path, encoders=[colour()], settings=settings, settings_of=settings_of))


def test_paths_are_pulled_when_a_slide_is_about_to_be_worked_on(pieces, settings, colour, tmp_path):
    pulled, given = [], 0

    def lazily():
        for path in pieces:
            pulled.append(path)
            yield path

    most = 0
    for _ in extract_slides(lazily(), tmp_path, encoders=[colour()], settings=settings, batch_size=4):
        most, given = max(most, len(pulled) - given), given + 1
    assert given == len(pieces)
    assert 1 <= most <= IN_FLIGHT


def test_leaving_early_ends_the_threads(pieces, settings, colour, tmp_path):
    before = set(threading.enumerate())
    stream = extract_slides(pieces, tmp_path, encoders=[colour()], settings=settings, batch_size=4)
    assert next(stream).name == "piece0"
    stream.close()
    assert set(threading.enumerate()) <= before


def test_progress_counts_every_tile_once(pieces, settings, colour, tmp_path):
    told = []
    results = list(
        extract_slides(
            pieces,
            tmp_path,
            encoders=[colour()],
            settings=settings,
            batch_size=16,
            progress=lambda tiles, waiting: told.append((tiles, waiting)),
        )
    )
    assert sum(tiles for tiles, _ in told) == sum(result.tiles for result in results)
    assert sum(waiting for _, waiting in told) == pytest.approx(sum(result.waiting for result in results))


def test_settings_by_slide(pieces, settings, colour, tmp_path):
    def settings_of(slide):
        return replace(settings, slide_mpp=0.5) if slide.name == "piece0" else settings

    results = list(
        extract_slides(pieces[:2], tmp_path, encoders=[colour()], settings=settings, settings_of=settings_of)
    )
    assert [result.tiles for result in results] == [20, 2]  # at .5 um/px a slide is half as wide
    assert len(_stores(tmp_path)) == 1


def test_no_encoder_no_batch_and_no_slide(pieces, settings, colour, tmp_path):
    with pytest.raises(EncoderError, match="no encoder"):
        extract_slides(pieces, tmp_path, encoders=[], settings=settings)
    with pytest.raises(EncoderError, match="at least one tile"):
        list(extract_slides(pieces, tmp_path, encoders=[colour()], settings=settings, batch_size=0))
    assert list(extract_slides([], tmp_path, encoders=[colour()], settings=settings)) == []
