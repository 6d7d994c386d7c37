"""A page on paper: by a browser of this machine, with a clear word where there is none or it fails."""

from pathlib import Path

import pytest

from asmil.errors import RunError
from asmil.report import pages, write_pdf


@pytest.fixture
def page(tmp_path) -> Path:
    """A page with a name that needs quoting in an address."""
    path = tmp_path / "my page #1.html"
    path.write_text("<!doctype html><title>x</title><p>hello")
    return path


def script(folder: Path, text: str) -> str:
    """A program that stands in for a browser."""
    path = folder / "browser"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_without_a_browser_it_says_how_to_print(page, monkeypatch):
    monkeypatch.setattr(pages.shutil, "which", lambda name: None)
    with pytest.raises(RunError, match="no browser") as error:
        write_pdf(page)
    assert "Save as PDF" in str(error.value)


@pytest.mark.parametrize(
    ("does", "says"),
    [("echo 'no display' >&2; exit 1", "no display"), ("exit 0", "exit code 0"), ("exec sleep 60", "timed out")],
)
def test_a_browser_that_fails_is_named(page, tmp_path, does, says):
    with pytest.raises(RunError, match=says):
        write_pdf(page, browser=script(tmp_path, does), seconds=1)
    assert not page.with_suffix(".pdf").exists()


def test_the_browser_gets_the_page_and_its_output_is_moved_into_place(page, tmp_path):
    write = (
        'for a in "$@"; do case "$a" in --print-to-pdf=*) out="${a#--print-to-pdf=}";; file:*) page="$a";; esac; done'
    )
    pdf = write_pdf(page, browser=script(tmp_path, f'{write}; printf "%%PDF %s" "$page" > "$out"'))
    assert pdf == page.with_suffix(".pdf")
    assert pdf.read_text() == f"%PDF {page.as_uri()}"
    assert "%20page%20%231.html" in pdf.read_text()


def test_a_program_that_does_not_start(page, tmp_path):
    with pytest.raises(RunError, match="did not print"):
        write_pdf(page, browser=str(tmp_path / "nothing"))
