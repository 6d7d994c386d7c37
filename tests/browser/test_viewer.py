"""What somebody does who looks at slides: choose, zoom, compare, play the epochs, save; in a real browser."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from asmil.shown import percent

pytestmark = pytest.mark.slow

LAYER = ".pane >> nth=0 >> .layers"


def shows(page, slide: str) -> None:
    page.wait_for_function("name => document.body.dataset.ready === name", arg=slide)


def overlay(page, pane: int = 0) -> np.ndarray:
    """Pixels (h, w, 4) of the canvas of tiles."""
    canvas = page.locator(".pane").nth(pane).locator("canvas.tiles")
    png = base64.b64decode(canvas.evaluate("c => c.toDataURL()").partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(png)))


def screen(page) -> np.ndarray:
    clip = page.locator(".stage").first.bounding_box()
    return np.asarray(Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB"), dtype=float)


def drawn(page, layer: str, pane: int = 0) -> None:
    page.wait_for_function(
        "([pane, layer]) => document.querySelectorAll('.pane')[pane]?.dataset.drawn === layer", arg=[pane, layer]
    )


def bar(page, pane: int = 0) -> tuple[str, float]:
    """Scale bar: what it says and how long it is; together they tell the zoom."""
    box = page.locator(".scalebar").nth(pane)
    return box.inner_text(), float(box.evaluate("b => parseFloat(b.style.width)"))


def um_per_px(page, pane: int = 0) -> float:
    text, width = bar(page, pane)
    number, unit = text.split()
    return float(number) * (1000 if unit == "mm" else 1) / width


def test_the_list_sorts_filters_and_is_walked_by_keys(page, made):
    names = page.locator("#slides .name")
    page.select_option("#sort", "name")
    assert names.all_text_contents() == sorted(names.all_text_contents(), key=str.casefold)
    page.select_option("#sort", "error")
    measures = [float(text.split("loss ")[1]) for text in page.locator("#slides .measure").all_text_contents()]
    assert measures == sorted(measures, reverse=True)
    page.select_option("#sort", "seeds")
    page.wait_for_function("() => document.querySelector('#slides .measure').textContent.includes('JSD')")
    page.fill("#filter", "plain")
    expect(names).to_have_count(len(made.FURTHER))
    assert sorted(names.all_text_contents()) == sorted(made.FURTHER)
    page.select_option("#sort", "name")
    page.locator("#slides button").first.click()
    shows(page, "plain-1")
    page.keyboard.press("]")
    shows(page, "plain-2")
    page.keyboard.press("[")
    shows(page, "plain-1")


def test_attention_lies_over_the_pixels_and_opacity_changes_what_is_seen(page):
    tiles = overlay(page)
    assert 0.2 < (tiles[..., 3] > 0).mean() < 1
    assert set(np.unique(tiles[..., 3])) <= {0, 255}
    before = screen(page)
    page.locator("#opacity").fill("0")
    bare = screen(page)
    page.locator("#opacity").fill("100")
    full = screen(page)
    changed = [np.abs(a - b).mean() for a, b in ((before, bare), (before, full), (bare, full))]
    assert min(changed) > 3
    assert changed[2] > max(changed[:2])
    page.keyboard.press("h")
    assert np.abs(screen(page) - bare).mean() < 1


def test_colours_are_the_ranks_of_the_report(page, made):
    """The colour in the middle of the first tile is that of its percentile."""
    from asmil.figures import colour_stops, percentiles

    values = page.evaluate(
        "async () => { const run = (await (await fetch('/api/runs')).json()).runs[0].id;"
        "const rows = await (await fetch(`/api/${run}/slides`)).json();"
        f"const n = rows.find(r => r.slide === {json.dumps(made.REAL)}).number;"
        "return Array.from(new Float32Array(await (await fetch(`/api/${run}/${n}/layer/mean`)).arrayBuffer())); }"
    )
    expected = colour_stops(n=256)[round(255 * float(percentiles(np.array(values, np.float32))[0]))]
    tiles = overlay(page)
    y, x = np.argwhere(tiles[..., 3] > 0)[0] + 3
    assert "#{:02x}{:02x}{:02x}".format(*tiles[y, x, :3]) == expected


def test_a_tile_tells_its_rank_and_a_top_tile_is_flown_to(page):
    box = page.locator(".stage").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert page.locator(".tip div").first.inner_text().endswith("of 234")
    far = um_per_px(page)
    page.locator("#tiles button").nth(2).click()
    page.wait_for_function("() => document.querySelector('#tile').textContent.includes('3rd of 234')")
    page.wait_for_timeout(900)
    assert um_per_px(page) < far / 1.5
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)  # the tile is in the middle now
    assert page.locator(".tip div").first.inner_text() == "3rd of 234"
    page.keyboard.press("0")
    page.wait_for_timeout(900)
    assert um_per_px(page) == pytest.approx(far, rel=0.02)


def test_the_wheel_zooms_to_native_pixels(page):
    box = page.locator(".stage").bounding_box()
    far = um_per_px(page)
    with page.expect_request(lambda request: "/pixels/3/" in request.url):
        for _ in range(8):
            page.mouse.move(box["x"] + 300, box["y"] + 200)
            page.mouse.wheel(0, -400)
            page.wait_for_timeout(80)
    page.wait_for_timeout(700)
    assert um_per_px(page) < far / 2


def recorded(page) -> str:
    """Goes to a slide whose epochs were recorded."""
    page.check("#recorded")
    name = page.locator("#slides .name").first.text_content()  # what is not laid out yet has no inner text
    page.locator("#slides button").first.click()
    shows(page, name)
    page.wait_for_function("() => !document.querySelector('#epoch').disabled")
    return name


def test_the_scrubber_recolours_and_the_chart_follows(page):
    recorded(page)
    page.wait_for_function("() => document.querySelectorAll('#chart polyline').length >= 3")
    page.locator("#epoch").fill("0")
    page.wait_for_function("() => document.querySelector('.pane').dataset.drawn?.endsWith('-0')")
    first, mark = overlay(page), page.locator("#chart .now").get_attribute("x1")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => document.querySelector('.pane').dataset.drawn?.endsWith('-1')")
    assert (overlay(page) != first).any()
    assert float(page.locator("#chart .now").get_attribute("x1")) > float(mark)
    assert page.locator("#epoch-text").inner_text() == "epoch 2 of 4"
    page.keyboard.press("p")
    page.wait_for_function("() => document.querySelector('.pane').dataset.drawn?.endsWith('-3')")
    page.wait_for_function("() => document.querySelector('#play').textContent === '▶'")


HELD = """
const fetched = window.fetch;
window.fetch = (url, ...more) => !String(url).endsWith("/unrest") ? fetched(url, ...more) : new Promise((resolve) => {
  window.release = async () => {
    resolve(await fetched(url, ...more));
    setTimeout(() => (window.released = true), 200);
  };
});
"""


def test_a_slow_answer_does_not_bring_back_an_order_that_was_left(page):
    page.add_init_script(HELD)
    page.reload()
    page.wait_for_function("() => document.querySelectorAll('#slides .name').length")
    page.select_option("#sort", "seeds")
    page.wait_for_function("() => window.release")
    page.select_option("#sort", "error")
    page.evaluate("() => window.release()")
    page.wait_for_function("() => window.released")
    assert all("loss " in text for text in page.locator("#slides .measure").all_text_contents())


def test_one_token_and_one_head(page):
    layer = page.locator(f"{LAYER} >> option").evaluate_all("x => x.map(o => o.value).find(v => v.startsWith('rows-'))")
    page.locator(LAYER).select_option(layer)
    drawn(page, f"{layer}-all-all")
    every = overlay(page)
    page.get_by_label("Token").select_option("2")
    drawn(page, f"{layer}-2-all")
    page.get_by_label("Head").select_option("1")
    drawn(page, f"{layer}-2-1")
    assert (overlay(page) != every).any()


def test_side_by_side_stays_linked(page):
    page.keyboard.press("c")
    drawn(page, "disagreement", pane=1)
    page.wait_for_timeout(400)
    box = page.locator(".stage").nth(1).bounding_box()
    page.mouse.move(box["x"] + 150, box["y"] + 250)  # the right one leads now
    page.mouse.wheel(0, -500)
    page.wait_for_timeout(200)
    page.mouse.down()
    page.mouse.move(box["x"] + 90, box["y"] + 190, steps=4)
    page.mouse.up()
    page.wait_for_timeout(1200)
    assert um_per_px(page, 0) == pytest.approx(um_per_px(page, 1), rel=1e-3)
    left, right = overlay(page, 0)[..., 3] > 0, overlay(page, 1)[..., 3] > 0
    rows, columns = (min(a, b) for a, b in zip(left.shape, right.shape, strict=True))
    assert (left[:rows, :columns] == right[:rows, :columns]).mean() > 0.97
    page.keyboard.press("c")
    assert page.locator(".pane").count() == 1


def test_two_runs_open_side_by_side(browser, address, made):
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(120_000)
    page.goto(f"{address[1]}#{made.REAL}")
    drawn(page, "mean", pane=1)
    assert page.locator("[aria-label=Run]").evaluate_all("x => x.map(s => s.selectedOptions[0].text)") == [
        "run",
        "other",
    ]
    page.close()


@pytest.mark.parametrize("slide", ["ABSENT", "PICTURED", "BROKEN", "UNSCALED"])
def test_what_is_missing_is_said_and_the_map_is_there(page, made, slide):
    name = getattr(made, slide)
    page.fill("#filter", name)
    page.locator("#slides button").first.click()
    shows(page, name)
    assert page.locator(".note").is_visible()
    assert (overlay(page)[..., 3] > 0).mean() > 0.2


def test_names_are_text_never_markup(page, made):
    page.fill("#filter", "onerror")
    page.locator("#slides button").first.click()
    shows(page, made.HOSTILE)
    assert page.locator("#facts h2").inner_text() == made.HOSTILE
    assert made.CLASSES[0] in page.locator("#facts").inner_text()
    assert page.evaluate("window.hacked") is None


def test_a_narrow_window_is_not_wider_than_it_and_the_list_can_be_skipped(page):
    page.set_viewport_size({"width": 400, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    assert page.locator("main").bounding_box()["y"] < page.locator("#list").bounding_box()["y"]
    page.reload()
    page.locator("#slides [aria-current]").wait_for()
    assert page.evaluate("scrollY") == 0, "a page that is opened at a slide begins with it"
    # A page that was opened at a slide walks on from there: the first stop is asked for in the order of the page
    page.evaluate("document.querySelector('a[href], button, input, select, [tabindex=\"0\"]').focus()")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "before"


def test_what_is_on_screen_is_saved_as_png_and_the_tiles_as_geojson(page):
    with page.expect_download() as saved:
        page.click("#png")
    picture = np.asarray(Image.open(saved.value.path()).convert("RGB"))
    box = page.locator(".stage").bounding_box()
    assert picture.shape[1] == round(box["width"])
    assert picture[: int(box["height"])].std() > 20
    with page.expect_download() as saved:
        page.click("#geojson")
    assert len(json.loads(saved.value.path().read_text())["features"]) == 234
    page.keyboard.press("c")
    drawn(page, "disagreement", pane=1)
    page.locator(".stage").nth(1).hover()
    page.wait_for_function("() => document.querySelector('#geojson').disabled")  # it would not be attention


def test_without_statistics_what_was_decided_wrongly_comes_first(opened, address, made):
    """Also one that was nearly right: at an operating point it has a smaller loss than many that are right."""

    def one_more_is_wrong(route):
        response = route.fetch()
        rows = response.json()
        least = min(rows, key=lambda row: row["error"])
        least["predicted"] = next(row["predicted"] for row in rows if row["predicted"] != least["predicted"])
        route.fulfill(response=response, json=rows)

    page = opened(f"{address[0]}#{made.REAL}")
    page.route("**/api/*/slides", one_more_is_wrong)
    page.reload()
    page.select_option("#sort", "error")
    wrong = page.locator("#slides .verdict").evaluate_all("all => all.map((v) => v.classList.contains('bad'))")
    assert any(wrong)
    assert wrong == sorted(wrong, reverse=True)


SHARES = """async values => {
  const m = await import("/static/page.js");
  return [values.map(m.percent), values.map(v => [m.probability(v, 2), m.probability(v)])];
}"""


def test_no_probability_is_shown_as_all_or_nothing_that_is_not(opened, address, made):
    """Of 100 % one thinks that it is certain; shares are written as by `asmil.shown`."""
    page = opened(f"{address[0]}#{made.REAL}")
    values = [0, 0.002, 0.00003, 0.0149, 0.5, 0.994, 0.998, 0.9999, 1 - 1e-9, 1]
    shares, fixed = page.evaluate(SHARES, values)
    assert shares == [percent(value, " %") for value in values]
    assert [fixed[i] for i in (0, 1, 4, 6)] == [["0.00", "0.000"], ["0.002", "0.002"], ["0.50", "0.500"], ["0.998"] * 2]
    assert fixed[-2:] == [["> 0.999999"] * 2, ["1.00", "1.000"]]

    def nearly(route):
        rows = route.fetch().json()
        route.fulfill(json=[row | {"probabilities": [0.002, 0.998]} for row in rows])

    page.route("**/api/*/slides", nearly)
    page.reload()
    expect(page.locator("#slides .measure").first).to_contain_text("99.8 %")
    expect(page.locator(".probability .muted")).to_have_text(["0.2 %", "99.8 %"])
