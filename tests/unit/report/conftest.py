"""A run on disk with its page, and a reader of pages."""

import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from asmil.report import write_heatmaps, write_report

VOID = {"meta", "link", "img", "br", "input", "hr"}


class Page(HTMLParser):
    """Checks that tags close in order, and collects what a test asks about."""

    def __init__(self, path: Path):
        super().__init__()
        self.open, self.text, self.images, self.links, self.headings, self.ids = [], [], [], [], [], []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if "id" in attrs:
            self.ids.append(attrs["id"])
        if tag == "img":
            self.images.append(attrs)
        if tag == "a":
            self.links.append(attrs["href"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        if "id" in dict(attrs):
            self.ids.append(dict(attrs)["id"])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)
        if self.open and self.open[-1] not in ("style", "script"):
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="package")
def finished(tmp_path_factory, make_run) -> Path:
    """A run with its page and the stored heatmap of one slide; only read."""
    folder = make_run(tmp_path_factory.mktemp("runs") / "run", slides=12, epochs=8)
    files = write_heatmaps(folder, ["case-001_a"])
    assert [f.name for f in files] == ["case-001_a.png", "case-001_a.geojson"]
    assert write_report(folder, heatmaps=4) == folder / "report.html"
    return folder


@pytest.fixture
def run(finished, tmp_path) -> Path:
    """A copy that a test may spoil."""
    return shutil.copytree(finished, tmp_path / "run")


@pytest.fixture(scope="session")
def read_page() -> type[Page]:
    """Reads a page: its words, headings, links, pictures."""
    return Page
