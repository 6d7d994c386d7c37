"""Verdicts become a table of labels, outlines become annotations; nobody but the page itself writes them."""

import json
import shutil

import pandas as pd
import pytest

pytest.importorskip("starlette")
from starlette.testclient import TestClient
from typer.testing import CliRunner

from asmil.annotations import find_annotation, read_annotations
from asmil.bags import read_cohort
from asmil.cli import app as asmil
from asmil.viewer import Pyramid, RunView, make_app
from asmil.viewer.said import Outlines

HERE = "http://127.0.0.1:8765"
SQUARE = [10, 10, 110, 10, 110, 90, 10, 90]


@pytest.fixture
def folder(run_folder, tmp_path):
    """A run of one's own, whose settings name the folders of the first."""
    return shutil.copytree(run_folder, tmp_path / "run")


@pytest.fixture
def app(folder):
    pyramid = Pyramid()
    return make_app([RunView(folder, pyramid=pyramid)], pyramid=pyramid)


@pytest.fixture
def page(app):
    """The page of this machine: a client that knows the token, the run's address, and its rows by slide."""
    return page_of(app)


def page_of(app):
    client = TestClient(app, base_url=HERE, client=("127.0.0.1", 5000))
    said = client.get("/api/runs").json()
    client.headers |= {"x-asmil-token": said["token"], "origin": HERE}
    base = f"/api/{said['runs'][0]['id']}"
    return client, base, {row["slide"]: row for row in client.get(f"{base}/slides").json()}


def test_from_the_viewer_to_labels_that_a_run_learns_from(page, folder, run_folder, made):
    client, base, rows = page
    other = next(name for name in made.CLASSES if name != rows["plain-2"]["label"])
    for slide, said in {
        "plain-1": {"verdict": "agree", "note": 'sure, "really"\n=1+1'},
        "plain-2": {"verdict": "relabel", "label": other, "note": ""},
        "plain-3": {"verdict": "exclude", "note": "out of focus"},
        "plain-4": {"verdict": "relabel", "label": other},
    }.items():
        answer = client.put(f"{base}/{rows[slide]['number']}/verdict", json=said)
        assert answer.status_code == 200, answer.text
    client.put(f"{base}/{rows['plain-4']['number']}/verdict", json={"verdict": "", "note": ""})
    table = pd.read_csv(folder / "verdicts.csv", dtype=str, na_filter=False).set_index("slide")
    assert sorted(table.index) == sorted(rows)
    assert table.verdict[["plain-1", "plain-2", "plain-3", "plain-4"]].tolist() == ["agree", "relabel", "exclude", ""]
    assert table.label["plain-2"] == other
    assert table.label["plain-4"] == rows["plain-4"]["label"]
    assert table.note["plain-1"] == 'sure, "really"\n=1+1'
    assert table.date["plain-1"].endswith("+00:00")
    again = {row["slide"]: row["said"] for row in client.get(f"{base}/slides").json()}
    assert again["plain-3"]["verdict"] == "exclude"
    assert again["plain-4"]["verdict"] == ""

    cohort = read_cohort(folder / "verdicts.csv")
    assert set(cohort.slides) == set(rows) - {"plain-3"}
    assert cohort.table.set_index("slide").label["plain-2"] == other
    assert cohort.table.set_index("slide").case["plain-2"] == rows["plain-2"]["case"]
    features = run_folder.parent / "features"
    said = ["check", "--labels", folder / "verdicts.csv", "--features", features, "--folds", 2]
    done = CliRunner().invoke(asmil, [str(text) for text in said])
    assert done.exit_code == 0, done.output
    assert "is excluded by its verdict [1: plain-3]" in done.output


def test_site_and_scale_of_the_cohort_stay_beside_the_labels(folder):
    """Trained on again, slides whose scale the table alone says would be refused, and sites would be mixed."""
    cohort = pd.read_csv(folder / "cohort.csv", dtype=str)
    cohort = cohort.assign(site=[f"s{i % 3}" for i in range(len(cohort))], mpp=["0.25", *[""] * (len(cohort) - 1)])
    cohort.to_csv(folder / "cohort.csv", index=False)
    pyramid = Pyramid()
    client, base, rows = page_of(make_app([RunView(folder, pyramid=pyramid)], pyramid=pyramid))
    first, second = (rows[slide]["number"] for slide in cohort.slide[:2])
    client.put(f"{base}/{first}/verdict", json={"verdict": "agree"})
    client.put(f"{base}/{second}/verdict", json={"verdict": "exclude"})
    table = pd.read_csv(folder / "verdicts.csv", dtype=str, na_filter=False).set_index("slide")
    known = cohort.set_index("slide")
    assert table.site.to_dict() == known.site.loc[table.index].to_dict()
    assert table.mpp[cohort.slide[0]] == "0.25"
    assert set(table.mpp[table.index != cohort.slide[0]]) == {""}
    found = read_cohort(folder / "verdicts.csv").table.set_index("slide")
    assert found.site[cohort.slide[0]] == "s0"
    assert found.mpp[cohort.slide[0]] == 0.25


@pytest.mark.parametrize(
    "said",
    [{"verdict": "maybe"}, {"verdict": "relabel", "label": "no class"}, {"verdict": "relabel"},
     {"verdict": "agree", "note": "x" * 5000}, {"verdict": ["agree"]}],
)  # fmt: skip
def test_what_is_no_verdict_is_refused_and_nothing_written(page, folder, said):
    client, base, _ = page
    answer = client.put(f"{base}/0/verdict", json=said)
    assert answer.status_code == 422
    assert answer.json()["what"]
    assert not (folder / "verdicts.csv").exists()


def test_a_sign_that_cannot_be_written_is_named(page, folder, made):
    """Half an emoji is what a browser sends of a note that was cut to its greatest length within one."""
    client, base, rows = page
    place = f"{base}/{rows[made.REAL]['number']}"
    for method, path, said, word in (
        ("PUT", "verdict", r'{"verdict": "agree", "note": "look \ud83d"}', "half of a sign"),
        ("POST", "outlines", r'{"class": "\ud83d", "ring": [10, 10, 90, 10, 90, 90]}', "half of a sign"),
        ("PUT", "verdict", r'{"verdict": "agree", "note": "look \u0000"}', "no table can"),
    ):
        answer = client.request(method, f"{place}/{path}", content=said)
        assert answer.status_code == 422
        assert word in answer.text
    assert not (folder / "verdicts.csv").exists()
    assert (
        client.put(f"{place}/verdict", content=r'{"verdict": "agree", "note": "\ud83d\ude00"}').json()["note"]
        == "\U0001f600"
    )


def test_a_table_that_is_no_table_is_named_and_left(page, folder):
    client, base, _ = page
    (folder / "verdicts.csv").write_text("slide,label\na,b\n")
    for answer in (client.put(f"{base}/0/verdict", json={"verdict": "agree"}), client.get(f"{base}/slides")):
        assert answer.status_code == 422
        assert "no column case" in answer.json()["found"]
    assert (folder / "verdicts.csv").read_text() == "slide,label\na,b\n"


def test_rows_that_somebody_added_stay(page, folder):
    client, base, rows = page
    (folder / "verdicts.csv").write_text("slide,case,label,verdict,note,date,mine\nelsewhere,p,normal,agree,,,x\n")
    assert client.put(f"{base}/0/verdict", json={"verdict": "agree"}).status_code == 200
    table = pd.read_csv(folder / "verdicts.csv", dtype=str, na_filter=False)
    assert table.iloc[0].tolist() == ["elsewhere", "p", "normal", "agree", "", "", "x"]
    assert len(table) == len(rows) + 1


@pytest.mark.parametrize(
    ("headers", "client_host"),
    [({"x-asmil-token": ""}, "127.0.0.1"), ({"x-asmil-token": "guessed"}, "127.0.0.1"),
     ({"x-asmil-token": "erdacht: ä".encode()}, "127.0.0.1"),
     ({"origin": "http://evil.example"}, "127.0.0.1"), ({"origin": "null"}, "127.0.0.1"),
     ({"origin": "http://127.0.0.1:9999"}, "127.0.0.1"), ({}, "10.1.2.3")],
)  # fmt: skip
def test_no_other_page_and_no_other_machine_writes(app, page, folder, headers, client_host):
    client, base, _ = page
    stranger = TestClient(app, base_url=HERE, client=(client_host, 5000), headers=dict(client.headers) | headers)
    answers = [
        stranger.put(f"{base}/0/verdict", json={"verdict": "agree"}),
        stranger.post(f"{base}/0/outlines", json={"class": "tumour", "ring": SQUARE}),
        stranger.delete(f"{base}/0/outlines/0"),
    ]
    assert [answer.status_code for answer in answers] == [403] * 3
    assert not (folder / "verdicts.csv").exists()
    assert not (folder / "outlines").exists()


def test_another_machine_is_told_that_it_only_reads(app):
    far = TestClient(app, base_url=HERE, client=("10.1.2.3", 5000))
    near = TestClient(app, base_url=HERE, client=("127.0.0.1", 5000))
    assert [one.get("/api/runs").json()["writes"] for one in (far, near)] == [False, True]


def test_too_much_is_not_read(page):
    client, base, _ = page
    assert client.put(f"{base}/0/verdict", content=b"x" * (2 << 20)).status_code == 413
    for body in (b"[" * 5000, b"[]", b"\xff", b"1"):
        assert client.put(f"{base}/0/verdict", content=body).status_code == 422


def test_an_outline_is_an_annotation_of_its_slide(page, folder, made):
    client, base, rows = page
    place = f"{base}/{rows[made.REAL]['number']}/outlines"
    assert client.get(place).json() == []
    first = client.post(place, json={"class": "tumour", "ring": SQUARE}).json()
    both = client.post(place, json={"class": "stroma", "ring": [500, 500, 900, 500, 700, 800]}).json()
    assert first == both[:1]
    assert [one["class"] for one in both] == ["tumour", "stroma"]
    drawn = read_annotations(find_annotation(folder / "outlines", made.REAL), slide_size=(2220, 2967))
    assert drawn.areas["tumour"].area == 100 * 80
    assert drawn.areas["stroma"].area == 400 * 300 / 2
    features = json.loads((folder / "outlines" / f"{made.REAL}.geojson").read_text())["features"]
    assert features[0]["properties"]["objectType"] == "annotation"
    assert client.delete(f"{place}/{both[0]['id']}").json() == both[1:]
    assert client.delete(f"{place}/{both[0]['id']}").status_code == 404
    client.delete(f"{place}/{both[1]['id']}")
    assert not list((folder / "outlines").iterdir())  # an empty file would say that nothing is on the slide


@pytest.mark.parametrize(
    ("said", "word"),
    [({"class": "", "ring": SQUARE}, "class"), ({"class": "a", "ring": [0, 0, 5, 5]}, "3 corners"),
     ({"class": "a", "ring": [9000, 9000, 9900, 9000, 9900, 9900]}, "no part"),
     ({"class": "a", "ring": "x"}, "corners"), ({"class": "a", "ring": [1, 2, 3]}, "list of"),
     ({"class": "a", "ring": [1, "2", 3, 4, 5, 6]}, "list of"),
     ({"class": 3, "ring": SQUARE}, "class"), ({"class": "a", "ring": [0, 0] * 30_000}, "3 corners")],
)  # fmt: skip
def test_what_is_no_outline_is_refused(page, folder, made, said, word):
    client, base, rows = page
    answer = client.post(f"{base}/{rows[made.REAL]['number']}/outlines", json=said)
    assert answer.status_code == 422
    assert word in answer.text
    assert not (folder / "outlines").exists()


def test_what_leaves_the_slide_is_cut_and_what_crosses_itself_is_mended(tmp_path):
    own = Outlines(tmp_path, "s", size=(100, 100), bounds=None)
    own.add("a", [50, 50, 150, 50, 150, 80, 50, 80])
    own.add("b", [0, 0, 40, 40, 40, 0, 0, 40])
    areas = read_annotations(own.path).areas
    assert areas["a"].area == 50 * 30
    assert areas["b"].area == pytest.approx(40 * 40 / 2)


def test_the_frame_of_qupath_there_and_back(tmp_path):
    """QuPath counts from the corner of the scanned part; what it exports over the file has lost what we said of it."""
    bounds = (1000, 2000, 500, 400)
    own = Outlines(tmp_path, "s", size=(4000, 4000), bounds=bounds)
    ring = [1100, 2100, 1200, 2100, 1200, 2200, 1100, 2200]
    (shown,) = own.add("tumour", ring)
    assert sorted(zip(shown["rings"][0][::2], shown["rings"][0][1::2], strict=True))[0] == (1100, 2100)
    content = json.loads(own.path.read_text())
    assert [100, 100] in content["features"][0]["geometry"]["coordinates"][0]
    by_hand = {"type": "Feature", "id": "q", "geometry": {"type": "Point", "coordinates": [7, 8]}}
    by_hand["properties"] = {"objectType": "annotation", "name": "kept", "classification": {"name": "Point"}}
    exported = [*content["features"], by_hand]
    own.path.write_text(json.dumps({"type": "FeatureCollection", "features": exported}))
    assert own.read()[0]["rings"] == shown["rings"]
    own.add("tumour", ring)
    assert by_hand in json.loads(own.path.read_text())["features"]
    drawn = read_annotations(own.path, bounds=bounds)
    assert drawn.area_of(["tumour"]).bounds == (1100, 2100, 1200, 2200)
    assert drawn.points["Point"].tolist() == [[1007, 2008]]


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[1]",
        '{"features": 3}',
        '[{"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [[["x", 1]]]}}]',
    ],
)
def test_a_damaged_file_of_outlines_is_named_and_left(page, folder, made, content):
    client, base, rows = page
    path = folder / "outlines" / f"{made.REAL}.geojson"
    path.parent.mkdir()
    path.write_text(content)
    place = f"{base}/{rows[made.REAL]['number']}/outlines"
    for answer in (
        client.get(place),
        client.post(place, json={"class": "a", "ring": SQUARE}),
        client.delete(f"{place}/1"),
    ):
        assert answer.status_code == 422
        assert "region.geojson" in answer.json()["what"]
    assert path.read_text() == content


@pytest.mark.parametrize(("host", "address"), [("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "127.0.0.1")])
def test_the_address_that_is_printed_can_be_opened(host, address, folder, monkeypatch):
    """Listening at every address is no address: typed into a tablet it leads nowhere."""

    def started(app, bound, *, started):
        bound.close()
        started()

    monkeypatch.setattr("asmil.viewer.serve", started)
    done = CliRunner().invoke(asmil, ["view", str(folder), "--host", host, "--port", "0", "--no-browser"])
    assert done.exit_code == 0, done.output
    assert f"viewer: http://{address}:" in done.stdout
    assert ("http://ITS-IP-ADDRESS:" in done.stderr) == (host == "0.0.0.0")
    assert ("taken from this machine alone" in done.stderr) == (host == "0.0.0.0")
