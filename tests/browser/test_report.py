"""Pages of a run and of a comparison in headless Chromium: no script, nothing fetched, nothing cut, legible."""

import shutil
import urllib.parse
import zipfile
from pathlib import Path

import pytest

from asmil.report import write_bundle, write_comparison, write_pdf, write_report
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
        page.set_default_timeout(120_000)
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
    page.set_default_timeout(120_000)
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


@pytest.mark.parametrize("width", [1280, 390])
def test_the_first_screen_answers_and_the_bar_of_contents_stays(browser, pages, width):
    context = browser.new_context(java_script_enabled=False, viewport={"width": width, "height": 800})
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.goto(pages[0].as_uri())
    if width == 1280:
        for text in ("How good is it?", "Sensitivity", "Can I trust it?", "What went wrong?", "asmil view own"):
            place = page.get_by_text(text, exact=text != "What went wrong?").first.bounding_box()
            assert place["y"] + place["height"] < 800, f"{text} is not on the first screen"
    page.locator("nav a", has_text="Metrics").scroll_into_view_if_needed()
    page.click("nav a >> text=Metrics")
    for _ in range(100):  # nothing of the page's own runs that could tell
        page.wait_for_timeout(100)
        if page.locator("#metrics").bounding_box()["y"] < 200:
            break
    page.wait_for_timeout(300)
    bar, heading = page.locator("nav").bounding_box(), page.locator("#metrics h2").bounding_box()
    assert abs(bar["y"]) < 1
    assert heading["y"] >= bar["y"] + bar["height"], "the bar hides what it leads to"
    context.close()


@pytest.mark.parametrize(("width", "columns"), [(1280, 3), (390, 2)])
def test_the_maps_of_a_slide_lie_side_by_side_on_a_phone_too(browser, pages, width, columns):
    """One below the other they made a page of a few slides as long as fifty screens."""
    page = browser.new_page(viewport={"width": width, "height": 844})
    page.set_default_timeout(120_000)
    page.goto(pages[0].as_uri())
    tops = page.evaluate("[...document.querySelector('.maps').children].map(f => f.getBoundingClientRect().top)")
    assert tops.count(tops[0]) == columns
    page.close()


def test_every_link_of_the_bundle_leads_somewhere(browser, pages, tmp_path):
    with zipfile.ZipFile(write_bundle(pages[0].parent, heatmaps=2)) as bundle:
        bundle.extractall(tmp_path)
    page = browser.new_page()
    page.set_default_timeout(120_000)
    page.goto((tmp_path / "own" / "report.html").as_uri())
    links = page.evaluate("[...document.links].map(link => link.href)")
    files = [link for link in links if "#" not in link]
    assert len(files) > 5
    assert all(Path(urllib.parse.unquote(urllib.parse.urlparse(link).path)).is_file() for link in files)
    assert (
        page.evaluate("[...document.links].filter(a => a.hash && !document.getElementById(a.hash.slice(1))).length")
        == 0
    )
    page.close()


def test_on_paper_nothing_is_said_by_a_background_alone(browser, pages):
    """Browsers print without backgrounds, unless an element asks for its own."""
    page = browser.new_page()
    page.set_default_timeout(120_000)
    page.emulate_media(media="print", color_scheme="dark")
    page.goto(pages[0].as_uri())
    lost = page.evaluate(
        """() => [...document.querySelectorAll("main *, header *")].filter(element => {
          const style = getComputedStyle(element), colour = style.backgroundColor;
          const painted = style.backgroundImage !== "none" || !/, 0\\)$|transparent/.test(colour);
          const says = element.textContent.trim() || element.tagName === "IMG";
          return element.checkVisibility() && painted && style.printColorAdjust !== "exact" && !says;
        }).map(element => element.outerHTML.slice(0, 80))"""
    )
    assert lost == []
    assert page.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert page.evaluate("[...document.querySelectorAll('.long')].every(e => getComputedStyle(e).maxHeight === 'none')")
    assert page.evaluate("getComputedStyle(document.querySelector('.range i')).borderTopWidth") == "6px"
    page.close()


def test_without_script_there_is_no_filter_that_does_nothing(browser, pages):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.goto(pages[0].as_uri())
    assert page.locator("input").count() == 0
    assert page.locator("#slides tbody tr").count() == 12
    context.close()
