"""Ways to damage bytes, tables, JSON, YAML and XML; all draws come from the generator that is handed in."""

import json
import random
import re
from pathlib import Path

NUMBERS = (0, 1, 2, 3, 7, 127, 128, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**62, 2**63, 2**64 - 1)
DEEP, LONG = "\x01deep\x01", "\x01long\x01"
"""What `json_text` writes as thousands of brackets, and as a number of thousands of digits."""

CELLS = (
    *("", " ", "nan", "NaN", "null", "None", "-", "0", "-1", "1.0", "1.5", "1e999", "-inf", "1" * 22, "9" * 5000),
    *("true", "FALSE", '"', '"a', "'", ",", ";", "\t", "a\nb", "a\rb", "\x00", "\x1b[2J", "\ufeff", "é", "\ud800"),
    *("=1+1", "@x", "../x", "/", "s2", "S1", "s1.svs", "2020-01-01", "1:DECEASED", "1 000", "1,5", "٣", "x" * 70000),
)
YAML = (
    *("!!int ''", "!!float x", "!!timestamp x", "!!binary '!'", "!!python/object:os.system x", "!!set {a}", "!!omap x"),
    *(
        "[" * 3000,
        "{a: " * 500,
        "&a [*a]",
        "*a",
        "<<: *a",
        "? [a]",
        ": :",
        "- - -",
        "%YAML 9.9",
        "---",
        "...",
        "|\n",
        ">",
    ),
    *("0x1F", "0o7", "1_000", "12:30:45", "2026-01-01", "~", ".inf", ".nan", "1e400", "9" * 5000, "\x07", "\t", "\x85"),
    *("a: &b [x,x,x,x,x,x,x,x,x]", "c: &d [*b,*b,*b,*b,*b,*b,*b,*b,*b]", "e: [*d,*d,*d,*d,*d,*d,*d,*d,*d]", "''", '"'),
)
XML = (
    *(
        "<!DOCTYPE a [<!ENTITY b 'x'>]>",
        "&b;",
        "&#0;",
        "&#55296;",
        "<![CDATA[x]]>",
        "<?xml version='1.1'?>",
        "<a " * 99,
    ),
    *("<a>" * 3000, "</a>", "encoding='utf-16'", "encoding='cp037'", "\x00", "\ufeff", 'X="nan"', 'X="1e400"', 'X=""'),
    *('Order="nan"', 'Order="x"', 'Type="?"', 'Type=""', 'PartOfGroup="None"', 'Name=""', "xmlns='a'"),
)


def bytes_damaged(data: bytes, draw: random.Random) -> bytes:
    """Bits flipped, parts cut, emptied, doubled, moved or overwritten; mostly near both ends, where headers lie."""
    out = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        size = len(out)
        if not size:
            return bytes(out)
        at = draw.choice(
            (draw.randrange(size), draw.randrange(min(size, 3000)), size - 1 - draw.randrange(min(size, 3000)))
        )
        length = min(draw.choice((1, 2, 4, 8, 16, 64, 512, 4096)), size - at)
        way = draw.randrange(9)
        if way == 0:
            for _ in range(draw.choice((1, 1, 2, 8))):
                out[draw.randrange(at, at + length)] ^= 1 << draw.randrange(8)
        elif way == 1:
            del out[at:]
        elif way == 2:
            out[at : at + length] = bytes(length)
        elif way == 3:
            out[at:at] = out[at : at + length]
        elif way == 4:
            del out[at : at + length]
        elif way == 5:
            out[at : at + length] = draw.randbytes(length)
        elif way in (6, 7):
            width = draw.choice((1, 2, 4, 8))
            number = (draw.choice(NUMBERS) + draw.choice((0, 0, -1))) % (1 << 8 * width)
            out[at : at + width] = number.to_bytes(width, draw.choice(("little", "big")))
        else:
            other = draw.randrange(size)
            out[at : at + length] = out[other : other + length]
    return bytes(out)


def file_damaged(path: Path, draw: random.Random) -> None:
    """The bytes of a file damaged."""
    path.write_bytes(bytes_damaged(path.read_bytes(), draw))


def table_damaged(text: str, draw: random.Random) -> str:
    """A cell, row or column of a comma-separated table changed."""
    rows = [line.split(",") for line in text.splitlines()]
    for _ in range(draw.choice((1, 1, 2, 5))):
        row = draw.choice((0, draw.randrange(len(rows)), draw.randrange(len(rows)))) if rows else 0
        way = draw.randrange(7)
        if not rows or not rows[row]:
            break
        column = draw.randrange(len(rows[row]))
        if way <= 1:
            rows[row][column] = draw.choice(CELLS)
        elif way == 2:
            rows[row] += [draw.choice(CELLS)] * draw.choice((1, 2, 50))
        elif way == 3:
            del rows[row][column]
        elif way == 4:
            rows = [[cell for i, cell in enumerate(line) if i != column] for line in rows]
        elif way == 5:
            rows.insert(row, list(draw.choice(rows)))
        else:
            value = draw.choice(CELLS)
            rows = [
                [value if i == column and n else cell for i, cell in enumerate(line)] for n, line in enumerate(rows)
            ]
    text = draw.choice(("\n", "\n", "\n", "\r\n", "\r")).join(map(",".join, rows)) + "\n"
    return text if draw.random() < 0.8 else text.replace(",", draw.choice("\t; |"))


def words_damaged(text: str, draw: random.Random, tokens: tuple[str, ...]) -> str:
    """Values of `key: value` or `key="value"` replaced, lines doubled, dropped and indented, tokens put anywhere."""
    for _ in range(draw.choice((1, 1, 2, 3))):
        lines, way, token = text.split("\n"), draw.randrange(7), draw.choice(tokens)
        row = draw.randrange(len(lines))
        if way <= 1:
            spots = list(re.finditer(r"(?<=[:=])\s*\S+", text))
            if spots:
                spot = draw.choice(spots)
                text = text[: spot.start()] + " " + token + text[spot.end() :]
            continue
        if way == 2:
            at = draw.randrange(len(text) + 1)
            text = text[:at] + token + text[at:]
            continue
        if way == 3:
            lines.insert(row, lines[draw.randrange(len(lines))])
        elif way == 4:
            del lines[row]
        elif way == 5:
            lines[row] = draw.choice((" ", "\t", "- ", "  ")) + lines[row]
        else:
            lines.insert(row, token)
        text = "\n".join(lines)
    return text


def value_damaged(value: object, draw: random.Random) -> object:
    """A JSON value with one or a few of its parts replaced, dropped, doubled or wrapped."""
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        value = _with_damage(value, draw)
    return value


def _with_damage(value: object, draw: random.Random) -> object:
    places = [((), value)]
    for way, inner in places:
        if len(places) > 400:
            break
        if isinstance(inner, dict):
            places += [((*way, key), part) for key, part in inner.items()]
        elif isinstance(inner, list):
            places += [((*way, index), part) for index, part in enumerate(inner)]
    # by depth first: there are many more numbers than objects
    depth = draw.choice(sorted({len(way) for way, _ in places}))
    way, old = draw.choice([place for place in places if len(place[0]) == depth])
    strange = (
        *(None, [], {}, "", "x", "\x00", "None", "NaN", -1, 0, 1, 1.5, 1e308, -1e308, 2**31, 2**63, 2**70, True, False),
        *(
            float("nan"),
            float("inf"),
            DEEP,
            LONG,
            [old],
            {"x": old},
            [old] * 3,
            str(old)[:50],
            [None],
            [[[]]],
            "9" * 5000,
        ),
    )
    new = draw.choice((draw.choice(strange), draw.choice(strange), draw.choice(places)[1]))
    return _put(value, way, new, drop=draw.random() < 0.2)


def _put(value: object, way: tuple, new: object, *, drop: bool) -> object:
    if not way:
        return new
    step, *rest = way
    if isinstance(value, dict):
        if drop and not rest:
            return {key: part for key, part in value.items() if key != step}
        return {key: _put(part, tuple(rest), new, drop=drop) if key == step else part for key, part in value.items()}
    if isinstance(value, list):
        if drop and not rest:
            return [part for index, part in enumerate(value) if index != step]
        return [_put(part, tuple(rest), new, drop=drop) if index == step else part for index, part in enumerate(value)]
    return value


def json_text(value: object) -> str:
    """JSON, with the two marks written as what they stand for."""
    text = json.dumps(value)
    text = text.replace(json.dumps(DEEP), "[" * 100_000 + "]" * 100_000)
    return text.replace(json.dumps(LONG), "9" * 5000)


def json_damaged(path: Path, draw: random.Random) -> None:
    """The values, or the bytes, of a JSON file damaged."""
    if draw.random() < 0.25:
        file_damaged(path, draw)
    else:
        path.write_text(json_text(value_damaged(json.loads(path.read_text()), draw)))


def text_damaged(path: Path, draw: random.Random, tokens: tuple[str, ...]) -> None:
    """The words, or the bytes, of a text file damaged."""
    if draw.random() < 0.25:
        file_damaged(path, draw)
    else:
        text = words_damaged(path.read_text(encoding="utf-8"), draw, tokens)
        path.write_bytes(text.encode("utf-8", "surrogatepass"))


def csv_damaged(path: Path, draw: random.Random) -> None:
    """The cells, or the bytes, of a table damaged."""
    if draw.random() < 0.35:
        file_damaged(path, draw)
    else:
        text = table_damaged(path.read_text(encoding="utf-8"), draw)
        path.write_bytes(text.encode(draw.choice(("utf-8",) * 6 + ("utf-16",)), "surrogatepass"))
