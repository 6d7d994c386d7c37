"""A damaged feature file is one row, with its reason; the others are read, and what is only unusual is read too."""

import time
import zipfile
from contextlib import nullcontext
from datetime import date

import h5py
import numpy as np
import openpyxl
import pandas as pd
import pytest
import torch

from asmil.bags import open_features, read_cohort, read_splits
from asmil.bags.tables import read_table
from asmil.errors import CohortError, FeatureError, SplitError

TILES, DIM = 60, 24


def features(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((TILES, DIM)).astype(np.float32)


def grid() -> np.ndarray:
    return np.array([(x * 512, y * 512) for x in range(10) for y in range(6)])


@pytest.fixture
def folder(tmp_path):
    """Two whole files, and `bad.h5`, which a test spoils."""
    for seed, name in enumerate(("good", "good2", "bad")):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file.attrs.update(format="asmil", mpp=0.5, slide_mpp=0.25, patch_size_level0=512.0, encoder="uni")
            file["features"], file["coords"] = features(seed), grid()
    return tmp_path


def _instead(file, name, value):
    del file[name]
    file[name] = value


def _huge(file):
    del file["features"]
    file.create_dataset("features", (2**40, DIM), "f4", chunks=(16, DIM))


DAMAGE = {
    "a dead link": (lambda f: _instead(f, "features", h5py.SoftLink("/nowhere")), "cannot be read"),
    "a link to itself": (lambda f: _instead(f, "features", h5py.SoftLink("/features")), "cannot be read"),
    "a link to no file": (lambda f: _instead(f, "features", h5py.ExternalLink("no.h5", "/x")), "cannot be read"),
    "a group": (lambda f: (f.__delitem__("features"), f.create_group("features")), "no array"),
    "no space": (lambda f: _instead(f, "features", h5py.Empty("f")), "no array"),
    "texts": (lambda f: _instead(f, "features", np.ones((TILES, DIM), "S4")), "not a .* matrix of floats"),
    "a huge shape": (_huge, r"claims to hold more than it can \(105,553,116,266,496 bytes in a file of"),
    "another size": (lambda f: _instead(f, "coords", grid()[:7]), "differ in their tiles"),
    "four axes": (lambda f: _instead(f, "coords", grid()[None, None]), "differ in their tiles"),
    "places of text": (lambda f: _instead(f, "coords", grid().astype("S8")), "coordinates in .* not an array of num"),
    "places as group": (lambda f: (f.__delitem__("coords"), f.create_group("coords")), "not an array of numbers"),
    "places that are none": (lambda f: _instead(f, "coords", grid() * np.nan), "coordinates that are on no slide"),
    "places of 1e300": (lambda f: _instead(f, "coords", grid() + 1e300), "coordinates that are on no slide"),
    "infinite": (lambda f: _instead(f, "features", features() / 0), "NaN or infinite"),
    "infinite in float32": (lambda f: _instead(f, "features", np.full((TILES, DIM), 1e300)), "NaN or infinite"),
    "an array of formats": (lambda f: f.attrs.__setitem__("format", np.array([b"a", b"b"])), "cannot be read"),
    "another name": (lambda f: f.move("features", "fexture"), "no known feature format"),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_file_is_one_row(case, folder):
    damage, says = DAMAGE[case]
    with h5py.File(folder / "bad.h5", "r+") as file:
        damage(file)
    store = open_features(folder)
    problems = store.check(deep=True)
    assert [problem.slide for problem in problems] == ["bad"]
    assert pd.Series(str(problems[0])).str.contains(says).all(), problems[0]
    assert torch.equal(store.load("good2").features, torch.from_numpy(features(1)))


@pytest.mark.parametrize("way", ["cut", "noise", "emptied"])
def test_so_is_one_of_damaged_bytes(way, folder):
    path = folder / "bad.h5"
    data = bytearray(path.read_bytes())
    if way == "noise":
        data[600:1200] = np.random.default_rng(0).bytes(600)
    path.write_bytes(b"" if way == "emptied" else data[:900] if way == "cut" else data)
    store = open_features(folder)
    assert [problem.slide for problem in store.check(deep=True)] == ["bad"]
    assert store.slides[-2:] == ["good", "good2"]


def test_a_slide_that_lacks_its_array_costs_no_other_of_the_same_file(tmp_path):
    with h5py.File(tmp_path / "all.h5", "w") as file:
        for seed, slide in enumerate(("a", "b", "c")):
            file[f"{slide}/feat"] = features(seed)
        del file["b/feat"]
    store = open_features(tmp_path)
    assert store.slides == ["a", "c"]
    assert [problem.slide for problem in store.problems] == ["b"]


def _saved(tmp_path, value):
    torch.save(value, tmp_path / "s.pt")
    return open_features(tmp_path)


UNUSUAL = {
    "with gradient": lambda x: x.clone().requires_grad_(),
    "a parameter": torch.nn.Parameter,
    "a list of parameters in bfloat16": lambda x: [torch.nn.Parameter(row) for row in x.bfloat16()],
    "bfloat16": lambda x: x.bfloat16(),
    "float8": lambda x: x.to(torch.float8_e5m2),
    "double": lambda x: x.double(),
    "turned": lambda x: x.T.contiguous().T,
    "big-endian": lambda x: x.numpy().astype(">f4"),
}


@pytest.mark.parametrize("kind", UNUSUAL)
def test_unusual_torch_files_are_read(kind, tmp_path):
    store = _saved(tmp_path, UNUSUAL[kind](torch.from_numpy(features())))
    found = store.load("s").features
    assert not found.requires_grad
    torch.testing.assert_close(found.float(), torch.from_numpy(features()), rtol=0.3, atol=0.01)
    assert store.info("s").dtype == str(found.dtype).removeprefix("torch.")
    assert store.content("s").tiles == TILES


@pytest.mark.parametrize("suffix", [".h5", ".npy"])
@pytest.mark.parametrize("dtype", [">f4", ">f2", ">f8"])
def test_big_endian_numbers_are_read(suffix, dtype, tmp_path):
    if suffix == ".npy":
        np.save(tmp_path / "s.npy", features().astype(dtype))
    else:
        with h5py.File(tmp_path / "s.h5", "w") as file:
            file["feats"] = features().astype(dtype)
    store = open_features(tmp_path)
    torch.testing.assert_close(store.load("s").features.float(), torch.from_numpy(features()), rtol=1e-3, atol=1e-3)
    assert torch.equal(store.stream("s").opened().features, store.load("s").features)


REFUSED = {
    "sparse": (lambda x: x.to_sparse(), "a sparse_coo tensor"),
    "packed rows": (lambda x: x.to_sparse_csr(), "a sparse_csr tensor"),
    "quantised": (lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8), "a quantised tensor"),
    "complex": (lambda x: x + 1j, "a complex tensor"),
    "without values": (lambda x: x.to("meta"), "device meta"),
    "nested": (lambda x: torch.nested.nested_tensor([x[:3], x[:5]]), "a nested tensor"),
    "expanded": (lambda x: torch.zeros(1).expand(10**9, DIM), "96,000,000,000 bytes in a file of"),
    "expanded rows": (lambda x: [torch.zeros(1).expand(10**8)] * 9, "400,000,000 bytes in a file of"),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", REFUSED)
def test_other_torch_files_are_refused_in_words(kind, tmp_path):
    make, says = REFUSED[kind]
    torch.save(torch.from_numpy(features()), tmp_path / "good.pt")
    problems = _saved(tmp_path, make(torch.from_numpy(features()))).check(deep=True)
    assert [problem.slide for problem in problems] == ["s"]
    assert says in problems[0].what


def test_one_torch_file_of_another_width_does_not_condemn_the_rest(tmp_path):
    torch.save(torch.zeros(5, 7), tmp_path / "a.pt")
    for seed, name in enumerate("bcd"):
        torch.save(torch.from_numpy(features(seed)), tmp_path / f"{name}.pt")
    store = open_features(tmp_path)
    assert store.dim == DIM
    assert [problem.slide for problem in store.check(deep=True)] == ["a"]


def test_files_that_only_reading_tells_of_are_set_aside_before_they_are_used(tmp_path):
    torch.save(torch.zeros(5, 7), tmp_path / "a.pt")
    for seed, name in enumerate("bcd"):
        torch.save(torch.from_numpy(features(seed)), tmp_path / f"{name}.pt")
    (tmp_path / "e.pt").write_bytes((tmp_path / "d.pt").read_bytes()[:700])
    store = open_features(tmp_path)
    store.try_unread(["a", "b", "c", "e", "unknown"])
    assert store.slides == ["b", "c", "d"]
    assert {problem.slide: problem.what.partition(" (")[0] for problem in store.problems} == {
        "a": "dimension 7, most slides have 24",
        "e": "e.pt cannot be read",
    }


def _npy(path, shape):
    np.save(path, features())
    data = path.read_bytes()
    path.write_bytes(data.replace(b"(60, 24), }" + b" " * (len(str(shape)) - 8), f"{shape}, }}".encode(), 1))


@pytest.mark.parametrize(("shape", "says"), [("(10, 24)", "holds more than it says"), ("(600000, 24)", "be read")])
def test_an_array_of_another_size_than_its_file_is_refused(shape, says, tmp_path):
    np.save(tmp_path / "good.npy", features())
    _npy(tmp_path / "s.npy", shape)
    problems = open_features(tmp_path).check(deep=True)
    assert [problem.slide for problem in problems] == ["s"]
    assert says in problems[0].what


def test_a_numpy_header_that_claims_four_gigabytes_is_refused_unread(tmp_path):
    for name in ("bad", "good"):
        np.save(tmp_path / f"{name}.npy", features())
    whole = (tmp_path / "bad.npy").read_bytes()
    (tmp_path / "bad.npy").write_bytes(whole[:6] + b"\x02\x00" + b"\xf0\xff\xff\xff" + whole[10:])
    store = open_features(tmp_path)
    assert store.slides == ["good"]
    assert f"a header of 4,294,967,280 bytes in {len(whole) + 2:,}" in str(store.problems[0])


@pytest.mark.parametrize("version", [2, 3])
def test_an_array_of_ten_billion_chunks_is_refused_uncounted(version, tmp_path):
    zarr = pytest.importorskip("zarr")
    for name, tiles in (("good", TILES), ("bad", 10**10)):
        group = zarr.open_group(tmp_path / f"{name}.zarr", mode="w", zarr_format=version)
        array = group.create_array("features", shape=(tiles, DIM), chunks=(1, DIM), dtype="f4")
        array[:TILES] = features()
    started = time.monotonic()
    store = open_features(tmp_path)
    assert store.slides == ["good"]
    assert "claims to hold more than it can (960,000,000,000 bytes in a file of" in str(store.problems[0])
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("bomb", ["member", "header"])
def test_packed_bombs_are_refused_with_their_numbers(bomb, tmp_path):
    torch.save(torch.from_numpy(features()), tmp_path / "s.pt")
    np.save(tmp_path / "array.npy", np.zeros((8, 2)))
    data = (tmp_path / "array.npy").read_bytes()
    (tmp_path / "array.npy").unlink()
    data = data + bytes(300_000_000) if bomb == "member" else data.replace(b"(8, 2), }        ", b"(80000000, 2), } ")
    with zipfile.ZipFile(tmp_path / "s.index.npz", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("arr_0.npy", data)
    with pytest.raises(FeatureError, match=r"s\.index\.npz claims to hold more than it can.*bytes in a file of"):
        open_features(tmp_path)


def test_a_table_of_features_with_a_damaged_header_is_named(tmp_path):
    for name in ("good", "bad"):
        pd.DataFrame(features()).to_csv(tmp_path / f"{name}.csv", index=False)
    text = (tmp_path / "bad.csv").read_text()
    (tmp_path / "bad.csv").write_text(text.replace("0,1,2,3,", "0,1,z,3,", 1))
    (tmp_path / "labels.csv").write_text("slide,label,fold_0,fold_1\na,1,0,1\n")  # another table, and no fault
    store = open_features(tmp_path)
    assert store.slides == ["good"]
    assert [problem.what for problem in store.problems] == [
        "bad.csv has columns out of order (0, 1, z, 3, 4 and 19 more)"
    ]


@pytest.mark.parametrize("damage", [",FALSE" * 80 + "\n", ",a\rb\n"], ids=["words", "a carriage return"])
def test_a_table_of_features_whose_header_grew_is_named(damage, tmp_path):
    for name in ("good", "bad", "mac"):
        pd.DataFrame(features()).to_csv(tmp_path / f"{name}.csv", index=False)
    text = (tmp_path / "bad.csv").read_text()
    (tmp_path / "bad.csv").write_bytes(text.replace("\n", damage, 1).encode())
    (tmp_path / "mac.csv").write_bytes(text.replace("\n", "\r").encode())
    store = open_features(tmp_path)
    assert [problem.slide for problem in store.problems] == ["bad.csv"]
    assert store.slides == ["good", "mac"]
    assert torch.equal(store.load("mac").features, store.load("good").features)


def test_coordinates_of_twenty_two_digits_are_refused(tmp_path):
    table = pd.DataFrame(features()).assign(x=grid()[:, 0].astype(str), y=grid()[:, 1])
    table.to_csv(tmp_path / "good.csv", index=False)
    table.assign(x="1" * 22).to_csv(tmp_path / "bad.csv", index=False)
    problems = open_features(tmp_path).check(deep=True)
    assert [problem.slide for problem in problems] == ["bad"]


@pytest.mark.parametrize("version", [2, 3])
def test_a_damaged_chunk_of_zarr_is_that_files_error(version, tmp_path):
    zarr = pytest.importorskip("zarr")
    for seed, name in enumerate(("bad", "good")):
        group = zarr.open_group(tmp_path / f"{name}.zarr", mode="w", zarr_format=version)
        group.create_array("features", data=features(seed), chunks=(16, DIM))
    chunk = next(
        file
        for file in sorted((tmp_path / "bad.zarr" / "features").rglob("*"))
        if file.is_file() and file.name[0] in "0"
    )
    chunk.write_bytes(b"\x02\x01" + bytes(40))
    problems = open_features(tmp_path).check(deep=True)
    assert [problem.slide for problem in problems] == ["bad"]


def test_a_workbook_that_unpacks_to_no_end_is_refused(tmp_path):
    pd.DataFrame({"slide": ["a"], "label": ["b"]}).to_excel(tmp_path / "t.xlsx", index=False)
    with zipfile.ZipFile(tmp_path / "t.xlsx", "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr("xl/worksheets/sheet2.xml", b"<row/>" * 8_000_000)
    start = time.monotonic()
    with pytest.raises(CohortError, match=r"unpacks to more than a table.*4\d,\d\d\d,\d\d\d bytes packed into"):
        read_table(tmp_path / "t.xlsx")
    assert time.monotonic() - start < 60


@pytest.mark.parametrize(("cell", "says"), [("A1048576", ""), ("XFD1048576", "line 1048576: .*more|more cells than")])
def test_a_cell_at_the_end_of_a_sheet_makes_no_million_of_rows(cell, says, tmp_path):
    pd.DataFrame({"slide": ["a", "b"], "label": ["x", "y"]}).to_excel(tmp_path / "t.xlsx", index=False)
    book = openpyxl.load_workbook(tmp_path / "t.xlsx")
    book.active[cell] = "c"
    book.save(tmp_path / "t.xlsx")
    start = time.process_time()
    with pytest.raises(CohortError, match=says) if says else nullcontext():
        assert read_table(tmp_path / "t.xlsx")["slide"].tolist() == ["a", "b", "c"]
    assert time.process_time() - start < 60


@pytest.mark.parametrize(("sheet", "says"), [
    (b'<row r="4294967295"><c r="A9"><v>1</v></c></row>', "larger than any table.*more than 1,048,576 rows"),
    (b'<row><c r="XFD1"><v>1</v></c></row>' * 2100, "larger than any table.*more than 33,554,432 cells"),
    (b'<row r="2"><c r="A3"><v>1</v></c></row>', "row 2 after row 2 in xl/worksheets/sheet1.xml"),
])  # fmt: skip
def test_a_sheet_of_more_than_can_be_read_or_would_be_is_refused(sheet, says, tmp_path):
    pd.DataFrame({"slide": ["a"], "label": ["x"]}).to_excel(tmp_path / "t.xlsx", index=False)
    with zipfile.ZipFile(tmp_path / "t.xlsx") as old:
        members = {name: old.read(name) for name in old.namelist()}
    members["xl/worksheets/sheet1.xml"] = members["xl/worksheets/sheet1.xml"].replace(
        b"</sheetData>", sheet + b"</sheetData>"
    )
    with zipfile.ZipFile(tmp_path / "t.xlsx", "w", zipfile.ZIP_DEFLATED) as new:
        for name, data in members.items():
            new.writestr(name, data)
    start = time.process_time()
    with pytest.raises(CohortError, match=says):
        read_table(tmp_path / "t.xlsx")
    assert time.process_time() - start < 60


def test_cells_of_a_workbook_are_read_as_they_are_shown(tmp_path):
    cells = [[7, 7.0, 0.1], [True, "007", "#N/A"], [None, date(2020, 1, 2), "x"]]
    pd.DataFrame(cells, columns=["a", "b", "c"], dtype=object).to_excel(tmp_path / "t.xlsx", index=False)
    read = [["7", "7", "0.1"], ["True", "007", ""], ["", "2020-01-02 00:00:00", "x"]]
    assert read_table(tmp_path / "t.xlsx").to_numpy().tolist() == read


@pytest.mark.parametrize("names", ["null", '"s0"', "5", "[null]", '[["s0"]]', "[" * 10_000, "[" + "9" * 5000 + "]"])
def test_splits_as_json_that_are_no_lists_of_names_are_refused(names, tmp_path):
    cohort = read_cohort(pd.DataFrame({"slide": ["s0", "s1", "s2"], "label": ["a", "b", "a"]}))
    text = '{"train_names": ["s0"], "val_names": ["s1"], "test_names": %s}'
    (tmp_path / "split_0.json").write_text(text % names)
    with pytest.raises(SplitError, match=r"test_names of split_0.json are no list of names|split_0.json is not JSON"):
        read_splits(tmp_path / "split_0.json", cohort)


def test_an_index_of_pandas_among_the_features_is_told(tmp_path):
    pd.DataFrame(features()).to_csv(tmp_path / "a.csv")
    with pytest.raises(FeatureError) as error:
        open_features(tmp_path)
    assert "to_csv(..., index=False)" in str(error.value)
