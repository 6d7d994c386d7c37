"""Ways to damage what lies within containers: HDF5, NumPy, torch, zarr, xlsx, TIFF and DICOM."""

import io
import random
import shutil
import struct
import zipfile
from pathlib import Path

import h5py
import numpy as np

from fuzz.mutations import CELLS, NUMBERS, XML, bytes_damaged, csv_damaged, file_damaged, json_damaged, words_damaged

HUGE = ((2**40, 24), (2**60, 2**10), (2**31, 24), (10**7, 24), (60, 2**40), (2**62,), (0, 24), (60, 0), (1,), (), (60,))
ATTRIBUTES = (
    *(-1, 0, 1e308, float("nan"), "x", "", b"\xff\xfe", [], [1.0], [[1, 2]], True, 2**63 - 1, "None", "tile", "slide"),
    *(h5py.Empty("f"), np.zeros(0), np.array([b"a", b"b"]), np.complex128(1), np.void(b"12"), "9" * 300, "um", "asmil"),
)


def h5_damaged(path: Path, draw: random.Random) -> None:
    """Bytes, or parts of an HDF5 file: other types and shapes, dead links, groups for arrays, odd attributes."""
    if draw.random() < 0.5:
        return file_damaged(path, draw)
    with h5py.File(path, "r+") as file:
        for _ in range(draw.choice((1, 1, 2))):
            names = [""]
            file.visit(names.append)
            name = draw.choice(names)
            if draw.random() < 0.4 or not name:
                item = file[name] if name else file
                key = draw.choice([*item.attrs, "format", "encoder", "unit", "mpp", "patch_size_level0", "feat_type"])
                value = draw.choice(ATTRIBUTES)
                item.attrs[key] = np.array(value) if isinstance(value, list) and not value else value
            else:
                _h5_part(file, name, draw)


def _h5_part(file: h5py.File, name: str, draw: random.Random) -> None:
    old = file.get(name)
    values = (
        old[()] if isinstance(old, h5py.Dataset) and old.shape is not None and old.size < 1e6 else np.zeros((60, 24))
    )
    values = np.asarray(values)
    del file[name]
    way = draw.randrange(12)
    if way == 0:
        file[name] = h5py.SoftLink(draw.choice(("/nowhere", f"/{name}", "/")))
    elif way == 1:
        file[name] = h5py.ExternalLink(
            draw.choice(("no.h5", Path(file.filename).name)), draw.choice(("/x", f"/{name}"))
        )
    elif way == 2:
        file.create_group(name)
    elif way == 3:
        file[name] = h5py.Empty("f")
    elif way == 4:
        shape = draw.choice(HUGE)
        chunks = tuple(min(32, max(side, 1)) for side in shape) or None
        if shape and all(shape):
            kind = draw.choice(("f2", "f4", "f8", "i8"))
            data = file.create_dataset(name, shape, kind, chunks=chunks, compression=draw.choice((None, "gzip")))
            data[(slice(0, 1),) * len(shape)] = 1
        else:
            file.create_dataset(name, shape, "f4")
    elif way == 5:
        file[name] = _cast(values, draw.choice(("f8", ">f4", "f2", ">f8", "i4", "u1", "c16", "?", "S4", "i8", ">i2")))
    elif way == 6:
        file[name] = draw.choice(
            (values.ravel(), values[None], values.T, values[:1], values[:0], values[..., None], 1.5)
        )
    elif way == 7:
        file[name] = np.zeros(values.shape[:1], [("x", "f4"), ("y", "i8")])
    elif way == 8:
        file[name] = draw.choice(("text", ["a", "b"], b"bytes"))
    elif way == 9:
        odd = values.astype(float)
        odd.ravel()[: draw.choice((1, odd.size))] = draw.choice((np.nan, np.inf, 1e300, -1e300))
        file[name] = odd
    elif way == 10:
        file.create_dataset(name, data=[file.ref] * 3, dtype=h5py.ref_dtype)


def _cast(values: np.ndarray, kind: str) -> np.ndarray:
    with np.errstate(all="ignore"):
        return values.astype(kind) if values.dtype.kind in "biufc" else np.zeros(values.shape, kind)


def npy_damaged(path: Path, draw: random.Random) -> None:
    """Bytes of a NumPy file, or its header."""
    if draw.random() < 0.5:
        return file_damaged(path, draw)
    array = np.load(path) if path.suffix == ".npy" else None
    array = np.zeros((60, 24), "f4") if array is None else array
    kind = draw.choice(
        ("<f4", ">f4", "<f8", "<f2", "<i8", "|O", "<U8", "|S3", "<M8[s]", "<c8", "|b1", "|V8", "f4,i4", "<f16")
    )
    shape = draw.choice(
        ("(60, 24)", "(1, 60, 24)", "(24, 60)", "(1440,)", "()", *map(str, HUGE), "(-1, 24)", "(60, 24.0)")
    )
    order = draw.choice(("False", "False", "True", "None"))
    header = f"{{'descr': '{kind}', 'fortran_order': {order}, 'shape': {shape}, }}"
    if draw.random() < 0.2:
        header = draw.choice(("", "{", "[" * 5000, "{'shape': (1,)}", "9" * 70000, "1" + "+1" * 4000, header + "\0"))
    data = header.encode()[:65000].ljust(118) + b"\n"
    whole = (
        b"\x93NUMPY"
        + bytes((draw.choice((1, 1, 1, 2, 3, 9)), 0))
        + struct.pack("<H", len(data))
        + data
        + array.tobytes()
    )
    if path.suffix == ".npy":
        path.write_bytes(whole)
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr(
                "arr_0.npy", whole if draw.random() < 0.7 else bytes(3 << 30 if draw.random() < 0.01 else 999)
            )


def pt_damaged(path: Path, draw: random.Random) -> None:
    """Bytes of a torch file, or another value in it."""
    import torch

    if draw.random() < 0.5:
        return file_damaged(path, draw)
    plain = torch.randn(60, 24)
    values = {
        "gradient": lambda: plain.clone().requires_grad_(),
        "parameter": lambda: torch.nn.Parameter(plain),
        "parameters": lambda: [torch.nn.Parameter(row) for row in plain],
        "halves": lambda: [row.bfloat16() for row in plain],
        "bfloat16": lambda: plain.bfloat16(),
        "float8": lambda: plain.to(torch.float8_e4m3fn),
        "double": lambda: plain.double(),
        "quantised": lambda: torch.quantize_per_tensor(plain, 0.1, 0, torch.qint8),
        "sparse": lambda: plain.to_sparse(),
        "csr": lambda: plain.to_sparse_csr(),
        "complex": lambda: plain + 1j,
        "conjugate": lambda: (plain + 1j).conj(),
        "integers": lambda: plain.int(),
        "bits": lambda: plain > 0,
        "expanded": lambda: torch.zeros(1).expand(10**9, 24),
        "expanded wide": lambda: torch.zeros(1).expand(2, 10**10),
        "strided": lambda: plain.T,
        "meta": lambda: plain.to("meta"),
        "dictionary": lambda: {"features": plain},
        "none": lambda: None,
        "number": lambda: 1.5,
        "text": lambda: "x",
        "scalar": lambda: torch.tensor(1.0),
        "empty": lambda: plain[:0],
        "no list": lambda: [],
        "mixed": lambda: [plain[0], 1],
        "ragged": lambda: [plain[0], plain[0, :3]],
        "lists": lambda: [[1.0] * 24] * 60,
        "nested": lambda: torch.nested.nested_tensor([plain[:3], plain[:5]]),
        "four": lambda: plain[None, None],
        "nan": lambda: plain * float("nan"),
        "array": lambda: plain.numpy(),
        "objects": lambda: np.array([None, 1]),
        "big endian": lambda: plain.numpy().astype(">f4"),
        "array of text": lambda: np.array(["a"]),
    }
    torch.save(values[draw.choice(list(values))](), path, _use_new_zipfile_serialization=draw.random() < 0.8)


def zarr_damaged(path: Path, draw: random.Random) -> None:
    """The notes or chunks of a zarr folder, or members of a zipped one."""
    if path.suffix == ".zip":
        return zip_damaged(path, draw, lambda name: name.endswith((".json", ".zarray", ".zattrs", ".zgroup")))
    files = [file for file in sorted(path.rglob("*")) if file.is_file()]
    notes = [file for file in files if file.name in ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")]
    file = draw.choice(notes if draw.random() < 0.7 else files)
    way = draw.randrange(10)
    if way == 0:
        file.unlink()
    elif way == 1 and file.parent != path:
        shutil.rmtree(file.parent)
    elif way == 2:
        file.unlink()
        file.mkdir()
    elif file in notes:
        json_damaged(file, draw)
    else:
        file_damaged(file, draw)


def zip_damaged(path: Path, draw: random.Random, is_text) -> None:
    """Bytes of a zip, or one of its members damaged and the sums made right again."""
    if draw.random() < 0.3:
        return file_damaged(path, draw)
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    name = draw.choice(sorted(members))
    way = draw.randrange(8)
    if way == 0:
        del members[name]
    elif way == 1:
        members[name] = draw.choice((b"", b"x", bytes(1000), b"<a>" * 5000))
    elif is_text(name) and way < 7:
        text = words_damaged(members[name].decode("utf-8", "replace"), draw, (*XML, *CELLS))
        members[name] = text.encode("utf-8", "surrogatepass")
    else:
        members[name] = bytes_damaged(members[name], draw)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for member, data in members.items():
            new.writestr(member, data)


def xlsx_damaged(path: Path, draw: random.Random) -> None:
    """Cells of a sheet, or the parts of its file; rarely a sheet that claims or holds very much."""
    import openpyxl

    way = draw.random()
    if way < 0.6:
        return zip_damaged(path, draw, lambda name: name.endswith((".xml", ".rels")))
    if way < 0.62:
        return _xlsx_bomb(path, draw)
    book = openpyxl.load_workbook(path)
    sheet = book.active
    for _ in range(draw.choice((1, 1, 3))):
        row, column = draw.randrange(1, sheet.max_row + 1), draw.randrange(1, 5)
        texts = [cell for cell in CELLS if not set(cell) & set("\x00\x1b\ud800") and len(cell) < 32000]
        value = draw.choice((draw.choice(texts), 1.5, -1, 1e308, True, None, "#N/A", "=A1", "=1/0"))
        sheet.cell(row, column).value = value
        if draw.random() < 0.1:
            sheet.merge_cells(start_row=row, end_row=row + 2, start_column=1, end_column=draw.randrange(1, 4))
        if draw.random() < 0.1:
            sheet.insert_rows(row, draw.choice((1, 3)))
        if draw.random() < 0.05:
            book.create_sheet(draw.choice(("Sheet9", "labels")), draw.choice((0, 1)))
    book.save(path)


def _xlsx_bomb(path: Path, draw: random.Random) -> None:
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    name = "xl/worksheets/sheet1.xml"
    if draw.random() < 0.5:
        members[name] = members[name].replace(b'<row r="3"', b'<row r="1048576"').replace(b'A3"', b'XFD1048576"')
    else:
        members[name] = members[name].replace(
            b"</sheetData>", b"<row><c><v>1</v></c></row>" * 5_000_000 + b"</sheetData>"
        )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new:
        for member, data in members.items():
            new.writestr(member, data)


def tiff_damaged(path: Path, draw: random.Random) -> None:
    """Bytes of a TIFF, or an entry of one of its tables: tag, kind, count, value, or where the next table lies."""
    data = bytearray(path.read_bytes())
    tables = _tables(bytes(data))
    if draw.random() < 0.3 or not tables:
        return file_damaged(path, draw)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        at, entries = draw.choice(tables)
        way = draw.randrange(6)
        entry = at + 2 + 12 * draw.randrange(entries)
        link = at + 2 + 12 * entries
        if way == 0:
            struct.pack_into(
                "<I", data, link, draw.choice((at, tables[0][0], 8, 1, len(data) - 3, draw.randrange(len(data))))
            )
        elif way == 1:
            tag = draw.choice((330, 34665, 34853, 256, 257, 322, 323, 324, 325, 347, 270, 259, 262, 277, 284, 317, 254))
            struct.pack_into("<HHII", data, entry, tag, draw.choice((3, 4, 13, 16, 2)), draw.choice((1, 1, 2)), at)
        elif way == 2:
            struct.pack_into("<H", data, entry + 2, draw.choice((0, 1, 2, 3, 4, 5, 7, 10, 11, 12, 13, 16, 18, 99)))
        elif way == 3:
            struct.pack_into("<I", data, entry + 4, draw.choice(NUMBERS) % 2**32)
        elif way == 4:
            struct.pack_into("<I", data, entry + 8, draw.choice((*NUMBERS, draw.randrange(len(data)))) % 2**32)
        else:
            struct.pack_into("<H", data, at, draw.choice((0, 1, entries - 1, entries + 1, 65535)))
    path.write_bytes(bytes(data))


def _tables(data: bytes) -> list[tuple[int, int]]:
    """Place and number of entries of each table of a small little-endian TIFF."""
    found, at = [], struct.unpack_from("<I", data, 4)[0]
    while 0 < at < len(data) - 6 and len(found) < 20:
        entries = struct.unpack_from("<H", data, at)[0]
        if not entries or at + 2 + 12 * entries + 4 > len(data):
            break
        found.append((at, entries))
        at = struct.unpack_from("<I", data, at + 2 + 12 * entries)[0]
    return found


def dicom_damaged(path: Path, draw: random.Random) -> None:
    """Bytes of a DICOM file, mostly of its header, or the value of one of its elements."""
    import pydicom

    if draw.random() < 0.5:
        return file_damaged(path, draw)
    header = pydicom.dcmread(path)
    names = [element.keyword for element in header if element.keyword and element.keyword != "PixelData"]
    name = draw.choice(names)
    try:
        if draw.random() < 0.3:
            delattr(header, name)
        else:
            setattr(
                header, name, draw.choice((0, 1, 65535, "", "x", None, [1, 2], "1.2.3", [], "TILED_FULL", "9" * 20))
            )
        buffer = io.BytesIO()
        header.save_as(buffer)
        path.write_bytes(buffer.getvalue())
    except Exception:  # noqa: BLE001  what pydicom does not write is damaged as bytes
        file_damaged(path, draw)


def any_damaged(path: Path, draw: random.Random) -> None:
    """A file damaged in the way that its kind asks for; sometimes emptied, removed, or a folder in its place."""
    way = draw.randrange(40)
    if way < 3:
        path.unlink()
        if way == 1:
            path.mkdir()
        elif way == 2:
            path.touch()
    elif path.suffix == ".json":
        json_damaged(path, draw)
    elif path.suffix == ".csv":
        csv_damaged(path, draw)
    elif path.suffix == ".h5":
        h5_damaged(path, draw)
    else:
        file_damaged(path, draw)
