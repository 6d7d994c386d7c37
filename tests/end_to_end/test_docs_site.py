"""The documentation's site: it builds without a warning, loads nothing from elsewhere, and its equations are drawn."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
import doc_pages as doc

LOADED = re.compile(
    r"<(?:script|img|iframe|source|video|link (?!rel=.?canonical))\b[^>]*?(?:src|href)=[\"']?(https?:[^\"'> ]+)"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site as `make docs` builds it."""
    for package in ("material", "mkdocstrings", "latex2mathml"):
        pytest.importorskip(package, reason="the packages of the site come with `make setup`")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    built = subprocess.run(command, cwd=doc.ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_every_page_is_built_and_loads_nothing_from_elsewhere(site):
    pages = sorted(site.rglob("*.html"))
    rooms = sorted(site.glob("api/*.html"))
    assert len(rooms) > 20
    assert len(pages) == len(doc.PAGES) + len(rooms) + 1  # and the one for what is not found
    for page in pages:
        assert not LOADED.findall(page.read_text(encoding="utf-8")), page.name
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import)\s*[\"']?https?:", sheet.read_text(encoding="utf-8")), sheet.name


def test_equations_are_mathml(site):
    assert "arithmatex" not in (site / "method.html").read_text(encoding="utf-8")
    sources = (doc.DOCS / "method.md").read_text(encoding="utf-8")
    assert (site / "method.html").read_text(encoding="utf-8").count("<math") == len(
        re.findall(r"\$\$.+?\$\$|(?<!\$)\$[^$\n]+\$(?!\$)", sources)
    )


def test_the_pages_of_the_rooms_have_every_public_name(site):
    import asmil

    pages = "".join(page.read_text(encoding="utf-8") for page in site.glob("api/*.html"))
    assert not [name for name in asmil.__all__ if f">{name}<" not in pages and name != "AsmilError"]


def test_the_search_finds_a_page_that_was_opened_from_the_disk(site, browser):
    """With no server: nothing is asked for outside the folder."""
    elsewhere: list[str] = []
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(120_000)
    page.on("request", lambda r: r.url.startswith(("file:", "data:", "blob:")) or elsewhere.append(r.url))
    page.goto((site / "start" / "slides.html").as_uri())
    # Typed, not filled in: the page reads what was typed when a key comes up, and a value put in by script has none.
    page.locator(".md-search__input").press_sequentially("normalised sigmoid")
    page.wait_for_selector(".md-search-result__link", state="attached")
    links = page.locator(".md-search-result__link").evaluate_all("all => all.map(a => a.getAttribute('href'))")
    page.close()
    assert any("method.html" in link for link in links)
    assert not elsewhere
