"""Numbers and sentences as they are read: templates fill in, paragraphs stay whole, names stay text."""

import re
from importlib.resources import files

import pytest
from jinja2 import UndefinedError

from asmil.report.words import number, paragraphs, percent, sentence

TEMPLATES = files("asmil.report") / "templates"


def test_numbers_keep_the_digits_that_matter():
    assert [number(x) for x in (0.5, 3.22e-6, 0.0, 12.34, 3.0, None, float("nan"))] == [
        "0.500", "3.2e-06", "0.000", "12.3", "3", "–", "–",
    ]  # fmt: skip
    assert [number(x) for x in (0.99981, 0.74, 1.0, -0.99981)] == ["0.99981", "0.740", "1", "−0.99981"]
    shown = [percent(x).replace("\N{NO-BREAK SPACE}", "_") for x in (0.998, 0.5, None, 1.0)]
    assert shown == ["99.8_%", "50_%", "–", "100_%"]


def test_an_empty_line_ends_a_paragraph_and_what_is_not_said_leaves_none():
    split = {"shared": 0, "retested": 2, "untested": 3}
    assert paragraphs("claims", "leaks", split=split) == (
        "Slides tested in more than one fold: 2.", "Slides of the split table that no fold tests: 3.",
    )  # fmt: skip
    assert paragraphs("sections", "cohort", lost=0) == ()
    assert sentence("sections", "cohort", lost=1) == "1 slide did not get into the results: see above."


def test_a_name_from_elsewhere_neither_ends_a_paragraph_nor_begins_a_part():
    name = "a\n\n== care\n{{ 7 * 7 }}<b>"
    assert paragraphs("comparison", "roc", name=name) == (
        "ROC of class a == care {{ 7 * 7 }}<b>, slides of all folds pooled, each with its 95 % band.",
    )


def test_a_value_that_is_not_given_is_an_error():
    with pytest.raises(UndefinedError):
        paragraphs("sections", "cohort")


@pytest.mark.parametrize("file", sorted(file.name for file in TEMPLATES.iterdir() if file.name.endswith(".txt.jinja")))
def test_every_part_is_used_and_named_once(file):
    parts = re.findall(r"^== (.+)$", (TEMPLATES / file).read_text(), flags=re.MULTILINE)
    assert len(parts) == len(set(parts))
    source = "".join(path.read_text() for path in files("asmil.report").iterdir() if path.name.endswith(".py"))
    for part in parts:
        assert f'"{part}"' in source, f"nobody says {part}"
