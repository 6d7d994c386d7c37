"""MUSK1, MUSK2, Fox, Tiger and Elephant: every form of their files gives the same bags, and nothing else is taken."""

import io
import socket
import tarfile
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest

from asmil.bags import DATASETS, DatasetError, load_dataset
from asmil.bags.dataset_files import Table, content_sha256, fetch, read_classic

ROWS = np.array([[1.0, 0, -2.5], [0, 0, 3], [4, 5, 0], [0, 7, 8], [-0.0, 1, 1]])
BAG = np.array([0, 0, 1, 2, 2])
LABEL = np.array([1, 0, 1])
TABLE = Table(ROWS, BAG, LABEL)
UCI = "".join(
    f"MOL-{b},{b}_1+{i},{','.join(str(v) for v in row)},{LABEL[b]}.\n"
    for i, (b, row) in enumerate(zip(BAG, ROWS, strict=True))
)
SPARSE = "".join(
    f"{i}:{b}:{2 * LABEL[b] - 1} " + " ".join(f"{j}:{v}" for j, v in enumerate(row, 1) if v or j == 3) + "\n"
    for i, (b, row) in enumerate(zip(BAG, ROWS, strict=True))
)
MEMBER = "MilData/Fox/data_100x100.svm"


def write_archive(path, *, member=MEMBER):
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo(member)
        info.size = len(SPARSE)
        archive.addfile(info, io.BytesIO(SPARSE.encode()))
    return path


def write_matlab(folder):
    from scipy.io import savemat

    folder.mkdir()
    savemat(folder / "X.mat", {"X": ROWS})
    savemat(folder / "Bag2.mat", {"Bag2": BAG[:, None] + 1})
    savemat(folder / "BagI.mat", {"bagI": LABEL[:, None]})
    return folder


def write_text(path, text):
    path.write_text(text)
    return path


def write_npz(path):
    np.savez(path, X=ROWS, bag=BAG, bag_label=LABEL, bag_id=np.array(["a", "b", "c"]))
    return path


FORMS = {
    "npz": lambda folder: write_npz(folder / "x.npz"),
    "uci": lambda folder: write_text(folder / "clean1.data", UCI),
    "uci_csv": lambda folder: write_text(folder / "x.csv", "molecule_name,conformation_name,f1,f2,f3,class\n" + UCI),
    "mcilboost": lambda folder: write_text(folder / "x.data", "5 3\n" + SPARSE),
    "andrews": lambda folder: write_text(folder / "x.svm", "# a comment\n" + SPARSE),
    "andrews_musk": lambda folder: write_text(folder / "x.svm", "\n".join(x[2:] for x in SPARSE.splitlines())),
    "archive": lambda folder: write_archive(folder / "x.tgz"),
    "milpy": lambda folder: write_matlab(folder / "x_original"),
}


@pytest.fixture
def tiny():
    """A set whose content is that of the small table above."""
    return replace(DATASETS["fox"], content=content_sha256(TABLE), urls=("http://127.0.0.1:9/fox.data",))


@pytest.fixture(autouse=True)
def _own_folders(tmp_path, monkeypatch):
    monkeypatch.delenv("ASMIL_DATA", raising=False)
    monkeypatch.setenv("ASMIL_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("form", FORMS)
def test_every_form_says_the_same(form, tmp_path, tiny):
    path = FORMS[form](tmp_path)
    table = read_classic(path, member=MEMBER)
    assert (table.rows == ROWS).all()
    assert (table.bag == BAG).all()
    assert (table.label == LABEL).all()
    dataset = tiny(path)
    assert [bag.slide for bag in dataset.bags] == ["fox_000", "fox_001", "fox_002"]
    assert dataset.cohort.labels.tolist() == [bag.label for bag in dataset.bags]
    assert sorted((bag.label, *sorted(bag.features.flatten().tolist())) for bag in dataset.bags) == sorted(
        (LABEL[b], *sorted(ROWS[b == BAG].flatten().tolist())) for b in range(3)
    )


def test_the_order_of_bags_and_rows_plays_no_part_and_every_value_does():
    order, renamed = np.array([3, 1, 2, 4, 0]), np.array([2, 0, 1])
    shuffled = Table(ROWS[order], renamed[BAG][order], LABEL[renamed.argsort()])
    assert content_sha256(shuffled) == content_sha256(TABLE)
    changed = ROWS.copy()
    changed[4, 1] += 1e-9
    assert content_sha256(Table(changed, BAG, LABEL)) != content_sha256(TABLE)
    assert content_sha256(Table(ROWS, BAG, np.array([1, 1, 1]))) != content_sha256(TABLE)
    assert content_sha256(Table(ROWS, np.array([0, 0, 1, 1, 2]), LABEL)) != content_sha256(TABLE)


def test_another_content_is_refused(tmp_path, tiny):
    path = write_text(tmp_path / "clean1.data", UCI.replace("-2.5", "-2.4"))
    with pytest.raises(DatasetError, match=r"not that of fox.*3 bags, 5 rows of 3 values"):
        tiny(path)


@pytest.mark.parametrize("text", ["", "nothing, at, all\n", "1:2:x 1:2\n", "just words\n", "0:0:1 1:nan\n"])
def test_a_file_of_another_form_is_refused(text, tmp_path):
    with pytest.raises(DatasetError, match="not readable"):
        read_classic(write_text(tmp_path / "x.data", text), member=MEMBER)


def test_pickled_arrays_and_other_members_are_not_read(tmp_path):
    np.savez(tmp_path / "x.npz", X=np.array([{}], dtype=object), bag=BAG, bag_label=LABEL)
    with pytest.raises(DatasetError, match="allow_pickle"):
        read_classic(tmp_path / "x.npz", member=MEMBER)
    for member in ("MilData/Tiger/data_100x100.svm", f"../{MEMBER}"):
        with pytest.raises(DatasetError, match="not readable"):
            read_classic(write_archive(tmp_path / "x.tgz", member=member), member=MEMBER)


def test_a_folder_is_searched_and_asmil_data_too(tmp_path, tiny, monkeypatch):
    home = tmp_path / "data"
    (home / "mil" / "canonical").mkdir(parents=True)
    with pytest.raises(DatasetError, match=r"not in this folder.*fox\.npz"):
        tiny(home)
    write_npz(home / "mil" / "canonical" / "fox.npz")
    monkeypatch.setenv("ASMIL_DATA", str(home))
    assert len(tiny(home).bags) == len(tiny().bags) == 3
    with pytest.raises(DatasetError, match="no data at this path"):
        tiny(tmp_path / "nowhere")


@pytest.fixture
def serve():
    """A function that serves bytes (announcing `size` of them) at a local address; `hits` counts requests."""
    servers, hits = [], []

    def start(body, *, status=200, size=None):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                hits.append(self.path)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body) if size is None else size))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/data.csv"

    start.hits = hits
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_download_is_checked_and_kept(tiny, serve):
    fetched = replace(tiny, urls=(serve(UCI.encode()),))
    assert len(fetched().bags) == len(fetched().bags) == 3
    assert len(serve.hits) == 1


def test_the_next_home_is_tried_when_one_fails(tiny, serve, tmp_path):
    gone, other, right = serve(b"", status=404), serve(b"1,2\n"), serve(UCI.encode())
    assert len(replace(tiny, urls=(gone, other, right))().bags) == 3
    assert len(serve.hits) == 3
    assert len(list((tmp_path / "cache" / "datasets").glob("*-data.csv"))) == 1


def test_a_wrong_or_broken_download_is_named_and_leaves_nothing(tiny, serve, tmp_path):
    wrong, short = serve(UCI.replace("-2.5", "-2.4").encode()), serve(UCI.encode(), size=10_000)
    with pytest.raises(DatasetError) as caught:
        replace(tiny, urls=(wrong, short))()
    assert wrong in str(caught.value)
    assert "not that of fox" in str(caught.value)
    assert short in str(caught.value)
    assert "root=PATH" in str(caught.value)
    assert list((tmp_path / "cache" / "datasets").iterdir()) == []


def test_a_server_that_does_not_answer_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/x"
        with pytest.raises(DatasetError, match="timed out"):
            fetch(url, timeout=0.2)


# Bags, positive bags, rows, values, smallest and largest bag: Dietterich et al. 1997, Andrews et al. 2002.
LITERATURE = {
    "musk1": (92, 47, 476, 166, 2, 40),
    "musk2": (102, 39, 6598, 166, 1, 1044),
    "fox": (200, 100, 1320, 230, 2, 13),
    "tiger": (200, 100, 1220, 230, 1, 13),
    "elephant": (200, 100, 1391, 230, 2, 13),
}


@pytest.mark.parametrize("name", LITERATURE)
def test_the_real_sets_have_the_numbers_of_the_literature(data_dir, name):
    bags = load_dataset(name, root=data_dir / "mil" / "canonical").bags
    lengths = [len(bag) for bag in bags]
    found = (len(bags), sum(bag.label for bag in bags), sum(lengths), bags[0].features.shape[1])
    assert (*found, min(lengths), max(lengths)) == LITERATURE[name]


@pytest.mark.parametrize(
    ("name", "raw"),
    [("musk1", "uci-musk/clean1.data"), ("musk2", "milpy/musk2_original"), ("fox", "mcilboost/fox.data")],
)
def test_the_real_raw_files_give_the_same_bags(data_dir, name, raw):
    canonical, official = (
        load_dataset(name, root=data_dir / "mil" / path).bags for path in (f"canonical/{name}.npz", raw)
    )
    for one, other in zip(canonical, official, strict=True):
        assert one.slide == other.slide
        assert one.label == other.label
        assert one.features.equal(other.features)
