"""The server: right answers, nothing but its own tables, policies on every answer, many clients at once."""

import io
import json
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
from starlette.testclient import TestClient

from asmil.annotations import read_annotations
from asmil.errors import RunError
from asmil.evaluation import tile_truth
from asmil.report import wrong_slides
from asmil.runs import Run
from asmil.viewer import RunView, make_app, serve
from asmil.viewer.pyramid import Pyramid
from asmil.viewer.serving import listen

STATIC = Path(make_app.__code__.co_filename).with_name("static")


@pytest.fixture(scope="module")
def app(run_folder):
    pyramid = Pyramid()
    return make_app([RunView(run_folder, pyramid=pyramid)], pyramid=pyramid)


@pytest.fixture(scope="module")
def client(app) -> TestClient:
    return TestClient(app, base_url="http://127.0.0.1:8765", raise_server_exceptions=False)


@pytest.fixture(scope="module")
def base(client) -> str:
    return f"/api/{client.get('/api/runs').json()['runs'][0]['id']}"


@pytest.fixture(scope="module")
def rows(client, base) -> dict[str, dict]:
    return {row["slide"]: row for row in client.get(f"{base}/slides").json()}


def test_the_heading_says_what_the_run_is(client, made):
    (run,) = client.get("/api/runs").json()["runs"]
    assert (run["model"], run["classes"], run["positive"]) == ("asmil", ["normal", "<b>tumour</b>"], ["tumour"])
    assert 0 <= run["auroc"] <= 1


def test_rows_hold_what_the_list_sorts_by(rows, run_folder):
    table = {row["slide"]: row for row in rows.values()}
    for row in table.values():
        truth = row["probabilities"][["normal", "<b>tumour</b>"].index(row["label"])]
        assert row["error"] == pytest.approx(-np.log(truth))
        assert 0 <= row["uncertainty"] <= 1
        assert row["spread"] > 0


def test_a_slide_is_wrong_where_the_report_says_so(run_folder, tmp_path):
    folder = shutil.copytree(run_folder, tmp_path / "run")
    table = pd.read_csv(folder / "predictions.csv")
    for threshold in (0.0, 1.1):
        table.assign(threshold=threshold).to_csv(folder / "predictions.csv", index=False)
        rows = RunView(folder, pyramid=Pyramid()).rows()
        assert {row["predicted"] for row in rows} == {"normal" if threshold else "<b>tumour</b>"}
        wrong = {row["slide"] for row in rows if row["predicted"] != row["label"]}
        assert wrong == set(wrong_slides(Run.open(folder))["slide"]) != set()


def test_tiles_are_corners_then_truth(client, base, rows, made, run_folder):
    facts = client.get(f"{base}/{rows[made.REAL]['number']}").json()
    content = client.get(f"{base}/{rows[made.REAL]['number']}/tiles").content
    corners = np.frombuffer(content, "<i4", 2 * facts["tiles"]).reshape(-1, 2)
    truth = np.frombuffer(content, np.uint8, offset=8 * facts["tiles"])
    drawn = read_annotations(run_folder.parent / "annotations" / "region.geojson")
    np.testing.assert_array_equal(truth, tile_truth(corners, facts["side"], drawn, positive=["tumour"]))
    assert truth.sum() == 16
    layer = np.frombuffer(client.get(f"{base}/{rows[made.REAL]['number']}/layer/mean").content, "<f4")
    assert layer.sum() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("slide", "pixels", "word"),
    [("REAL", "slide", None), ("UNSCALED", "slide", "scale"), ("ABSENT", "none", "not at hand"),
     ("PICTURED", "thumbnail", "thumbnail"), ("BROKEN", "none", "cannot be read")],
)  # fmt: skip
def test_a_slide_says_in_words_what_is_missing(client, base, rows, made, slide, pixels, word):
    number = rows[getattr(made, slide)]["number"]
    facts = client.get(f"{base}/{number}").json()
    assert facts["pixels"] == pixels
    assert (word in " ".join(facts["says"])) if word else not facts["says"]
    answer = client.get(f"{base}/{number}/pixels/0/0_0.jpg")
    assert answer.headers["content-type"] == "image/jpeg"
    picture = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert (picture.std() > 5) == (pixels != "none")
    assert client.get(f"{base}/{number}/thumbnail.jpg").status_code == 200


def test_annotations_come_by_class_and_broken_ones_are_told(client, base, rows, made):
    tumour, other = client.get(f"{base}/{rows[made.REAL]['number']}/annotations").json()
    assert (tumour["class"], tumour["positive"], other["positive"]) == ("tumour", True, False)
    assert {320.0, 960.0} == set(tumour["rings"][0])
    assert "annotations cannot be read" in " ".join(client.get(f"{base}/{rows[made.BROKEN]['number']}").json()["says"])


def test_geojson_is_for_qupath_and_holds_attention_only(client, base, rows, made):
    number = rows[made.REAL]["number"]
    features = client.get(f"{base}/{number}/geojson/mean").json()["features"]
    values = np.frombuffer(client.get(f"{base}/{number}/layer/mean").content, "<f4")
    assert len(features) == len(values)
    assert features[3]["properties"]["measurements"]["attention"] == pytest.approx(float(values[3]), rel=1e-4)
    assert client.get(f"{base}/{number}/geojson/disagreement").status_code == 422


def test_a_training_has_curves_and_the_kept_epoch(client, base, rows, made):
    training = client.get(f"{base}/{rows[made.REAL]['number']}/training/0-1").json()
    assert training["epochs"] == len(training["curves"]["val_loss"]) == 4
    assert 0 <= training["best"] < 4
    assert len(client.get(f"{base}/unrest").json()) == len(rows)


@pytest.mark.parametrize(
    "path",
    ["/api/nothing/slides", "{base}/99", "{base}/-1", "{base}/0/layer/other", "{base}/0/layer/..%2F..%2Flabels.csv",
     "{base}/0/pixels/99/0_0.jpg", "{base}/0/pixels/0/9_9.jpg", "{base}/0/region/0_0_99999.jpg",
     "{base}/0/region/1e3_0_64.jpg", "{base}/0/training/7-7", "{base}/..%2f..%2fconfig.yaml",
     "/static/..%2f..%2fapp.py",
     "{base}/" + "9" * 4300, "{base}/0/pixels/" + "1" * 5000 + "/0_0.jpg", "{base}/0/region/0_0_" + "7" * 4400 + ".jpg",
     "{base}/0/region/--5_0_10.jpg", "{base}/0/region/²_0_10.jpg", "{base}/0/layer/epoch-0-0-" + "9" * 4300,
     "{base}/0/layer/rows-0-0-" + "9" * 4300 + "-0", "{base}/0/training/" + "9" * 4300 + "-0",
     "/static/../app.py", "/config.yaml", "/api/%2e%2e/%2e%2e/etc/passwd"],
)  # fmt: skip
def test_what_is_not_in_the_tables_does_not_exist(client, base, path):
    assert client.get(path.format(base=base)).status_code == 404


@pytest.mark.parametrize(
    ("host", "known"),
    [("127.0.0.1:8765", True), ("localhost:1234", True), ("[::1]:8765", True), ("10.1.2.3", True),
     ("evil.example", False), ("127.0.0.1.evil.example:8765", False), ("localhost.evil.example", False), ("", False)],
)  # fmt: skip
def test_only_numbers_and_localhost_are_hosts(client, host, known):
    answer = client.get("/api/runs", headers={"host": host})
    assert answer.status_code == (200 if known else 421)
    assert "colon" not in answer.text or known


def test_a_named_host_is_known_when_it_was_asked_for(run_folder):
    pyramid = Pyramid()
    app = make_app([RunView(run_folder, pyramid=pyramid)], pyramid=pyramid, hosts=["gpu-7"])
    assert TestClient(app, base_url="http://gpu-7:8765").get("/").status_code == 200


def test_every_answer_has_the_policy_and_pixels_are_kept_by_the_browser(client, base):
    for path in (
        "/",
        "/static/main.js",
        "/static/openseadragon.min.js",
        "/api/runs",
        f"{base}/99",
        f"{base}/0/pixels/0/0_0.jpg",
    ):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers
    assert "max-age" in client.get(f"{base}/0/pixels/0/0_0.jpg").headers["cache-control"]
    assert client.get("/api/runs").headers["cache-control"] == "no-cache"
    assert client.post("/api/runs").status_code == 405


def test_the_page_names_nothing_outside(client):
    page = client.get("/").text
    assert "http" not in page
    assert "<script>" not in page
    assert " style=" not in page
    for name in sorted(path.stem for path in STATIC.glob("*.js") if "min" not in path.name):
        text = client.get(f"/static/{name}.js").text
        assert "innerHTML" not in text
        assert "https:" not in text
        assert len(text.splitlines()) <= 300


def test_two_hundred_clients_are_all_served(app, base, rows, made):
    bound = listen("127.0.0.1", 0)
    address = f"http://127.0.0.1:{bound.getsockname()[1]}"
    ready = threading.Event()
    threading.Thread(target=serve, args=(app, bound), kwargs={"started": ready.set}, daemon=True).start()
    assert ready.wait(20)
    number = rows[made.REAL]["number"]
    paths = [f"{base}/{number}/pixels/{level}/{x}_{y}.jpg" for level in (2, 3) for x in range(2) for y in range(2)]
    paths += [f"{base}/{number}/layer/mean", f"{base}/slides"]

    def fetch(i: int) -> int:
        with urllib.request.urlopen(address + paths[i % len(paths)], timeout=60) as answer:
            assert len(answer.read()) > 200
            return answer.status

    before = threading.active_count()
    with ThreadPoolExecutor(200) as pool:
        futures = [pool.submit(fetch, i) for i in range(200)]
        most = max(threading.active_count() for _ in range(20))
        assert Counter(future.result() for future in futures) == {200: 200}
    assert most <= before + 200 + 50  # 200 of the clients here, and few of the server


def test_a_taken_port_and_a_foreign_address_are_named():
    bound = listen("127.0.0.1", 0)
    bound.listen()
    with pytest.raises(RunError, match="cannot listen"):
        listen("127.0.0.1", bound.getsockname()[1])
    with pytest.raises(RunError, match="cannot listen"):
        listen("192.0.2.1", 0)
    bound.close()


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="is not a run"):
        RunView(tmp_path, pyramid=Pyramid())


def test_numbers_in_json_are_finite(client, base, rows):
    def refuse(text: str) -> None:
        raise AssertionError(text)

    for path in ("/api/runs", f"{base}/slides", f"{base}/unrest", f"{base}/0", f"{base}/0/training/0-0"):
        json.loads(client.get(path).text, parse_constant=refuse)


def test_ctrl_c_ends_it_without_a_word_also_twice(run_folder):
    code = "from asmil.cli import main; main()"
    command = [sys.executable, "-c", code, "view", str(run_folder), "--no-browser", "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    address = server.stdout.readline().split()[1]
    assert urllib.request.urlopen(address, timeout=60).status == 200
    server.send_signal(signal.SIGINT)
    server.send_signal(signal.SIGINT)
    _, said = server.communicate(timeout=60)
    assert (server.returncode, said) == (0, "")
