"""Pages of a run and of a comparison in headless Chromium: no script, nothing fetched, nothing cut, legible."""

import shutil
from pathlib import Path

import pytest

from asmil.report import write_comparison, write_pdf, write_report
from asmil.report.pages import find_browser

CONTRAST = """() => {
  const rgb = text => text.match(/[0-9.]+/g).slice(0, 3).map(Number);
  const light = c => c.map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const page = light(rgb(getComputedStyle(document.body).backgroundColor)), low = [];
  for (const element of document.querySelectorAll("h1,h2,h3,p,li,th,td,small,figcaption,a,dt,dd,summary,caption")) {
    const own = light(rgb(getComputedStyle(element).color));
    const ratio = (Math.max(own, page) + .05) / (Math.min(own, page) + .05);
    if (ratio < 4.5) low.push(element.tagName + " " + element.textContent.slice(0, 40) + " " + ratio.toFixed(2));
  }
  return low;
}"""


@pytest.fixture(scope="module")
def pages(browser, tmp_path_factory, make_run) -> list[Path]:
    """The page of a small run, and that of its comparison with a copy."""
    own = make_run(tmp_path_factory.mktemp("report") / "own", slides=12, epochs=4)
    other = shutil.copytree(own, own.parent / "other")
    return [write_report(own, heatmaps=2), write_comparison(own, other)]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_pages_are_whole_and_legible_without_script(browser, pages, width, scheme):
    context = browser.new_context(
        java_script_enabled=False, color_scheme=scheme, viewport={"width": width, "height": 900}
    )
    asked: list[str] = []
    for path in pages:
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "the page itself scrolls sideways"
        assert page.evaluate(CONTRAST) == []
        assert page.evaluate("[...document.images].filter(image => !image.naturalWidth || !image.alt).length") == 0
        assert page.evaluate("[...document.querySelectorAll('svg:not([aria-label])')].length") == 0
    context.close()
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def test_the_pdf_is_of_this_page(pages):
    if find_browser() is None:
        pytest.skip("there is no chromium on this machine")
    pdf = write_pdf(pages[0])
    assert pdf.read_bytes().startswith(b"%PDF")
    assert pdf.stat().st_size > 50_000, "pictures are in it"
    assert not list(pdf.parent.glob(".*")), "nothing half written is left"


def test_the_table_of_slides_sorts_and_filters(browser, pages):
    page = browser.new_page()
    page.goto(pages[0].as_uri())
    rows = "[...document.querySelectorAll('#slides tbody tr')].filter(row => row.offsetParent)"
    seen = f"{rows}.map(row => row.cells[0].innerText)"
    everyone = page.evaluate(seen)
    assert everyone == sorted(everyone)
    assert len(everyone) == 12
    page.click("#slides thead [role=button] >> nth=0")
    page.click("#slides thead [role=button] >> nth=0")
    assert page.evaluate(seen) == everyone[::-1]
    page.fill("#slides input[type=search]", "case-001 TUMOUR")
    assert page.evaluate(seen) == ["case-001_b", "case-001_a"]
    assert page.inner_text("#slides .filter output") == "2 of 12 rows"
    page.fill("#slides input[type=search]", "")
    assert len(page.evaluate(seen)) == 12
    page.close()


def test_without_script_there_is_no_filter_that_does_nothing(browser, pages):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(pages[0].as_uri())
    assert page.locator("input").count() == 0
    assert page.locator("#slides tbody tr").count() == 12
    context.close()
