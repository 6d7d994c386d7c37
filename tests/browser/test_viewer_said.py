"""What a pathologist does in the viewer: say a verdict, measure, turn, outline, on a phone too, and by keys alone."""

import importlib.resources
import json
import math
import re

import pandas as pd
import pytest
from playwright.sync_api import expect

from asmil.annotations import read_annotations

pytestmark = pytest.mark.slow

WIDTHS = {"desktop": (1280, 800), "tablet": (820, 1180), "phone": (390, 844)}


def shows(page, slide: str) -> None:
    page.wait_for_function("name => document.body.dataset.ready === name", arg=slide)


def middle(page) -> tuple[float, float]:
    box = page.locator(".stage").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def um_per_px(page) -> float:
    number, unit = page.locator(".scalebar").inner_text().split()
    width = float(page.locator(".scalebar").evaluate("b => parseFloat(b.style.width)"))
    return float(number) * (1000 if unit == "mm" else 1) / width


def close_to_a_tile(page) -> float:
    """Goes to the first tile to look at; the side of a tile on screen."""
    page.locator("#tiles button").first.click()
    page.wait_for_timeout(900)
    box = page.locator(".stage").bounding_box()
    return min(box["width"], box["height"]) / 6


def tile_at(page, x: float, y: float) -> str:
    page.mouse.move(x, y)
    return page.locator(".tip div").first.inner_text()


def test_statistics_are_behind_a_switch_that_is_remembered(opened, address, made):
    page = opened(f"{address[0]}#{made.REAL}")
    words = page.locator("body").inner_text()
    for word in ("AUROC", "entropy", "JSD", "loss", "seed", "Percentile", "uniform", "epoch", "logit"):
        assert word not in words
    assert "of 10 slides predicted rightly" in words
    labels = page.locator(".layers option").all_text_contents()
    assert labels[:2] == ["Where the models looked", "Where the models disagree"]
    assert len(labels) == 3
    page.keyboard.press("s")
    page.wait_for_function("() => document.body.innerText.includes('AUROC')")
    assert page.locator(".layers option").count() > 6
    page.reload()
    page.wait_for_function("() => document.body.innerText.includes('AUROC')")
    page.select_option("#sort", "seeds")
    page.keyboard.press("Tab")
    page.click("#statistics")
    page.wait_for_function("() => !document.body.innerText.includes('AUROC')")
    assert page.locator("#sort").input_value() == "error"


def test_a_slide_turns_with_its_tiles_and_is_measured(opened, address, made):
    page = opened(f"{address[0]}#{made.REAL}")
    side = close_to_a_tile(page)
    x, y = middle(page)
    here, right, below = tile_at(page, x, y), tile_at(page, x + side, y), tile_at(page, x, y + side)
    assert here.startswith("1st of 234")
    assert len({here, right, below}) == 3
    page.keyboard.press("r")
    page.wait_for_timeout(900)
    assert tile_at(page, x, y) == here
    assert tile_at(page, x, y + side) == right  # clockwise: what was at the right is below
    assert tile_at(page, x - side, y) == below
    page.keyboard.press("m")
    page.mouse.click(x, y)
    page.mouse.click(x + 30, y + 40)
    assert page.locator(".length").inner_text() == f"{50 * um_per_px(page):.3g} µm"
    page.keyboard.press("Escape")
    assert page.locator(".length").is_hidden()
    page.keyboard.press("R")
    page.wait_for_timeout(900)
    assert tile_at(page, x + side, y) == right


def test_a_verdict_is_kept_at_once_by_keys_alone(opened, address, served, made):
    page = opened(f"{address[0]}#plain-1")
    page.keyboard.press("2")
    expect(page.locator("#kept")).to_have_text("Saved in verdicts.csv")
    page.keyboard.press("n")
    page.keyboard.type("[3 mitoses] ")
    page.keyboard.press("Escape")
    expect(page.locator("[aria-current] .said")).to_contain_text("now ")
    page.keyboard.press("]")
    page.wait_for_function("() => document.body.dataset.ready !== 'plain-1'")
    assert page.locator("#note").input_value() == ""
    table = pd.read_csv(served / "run" / "verdicts.csv", dtype=str, na_filter=False).set_index("slide")
    predicted = pd.read_csv(served / "run" / "predictions.csv").set_index("slide")
    assert table.verdict["plain-1"] == "relabel"
    assert table.note["plain-1"] == "[3 mitoses]"
    assert table.label["plain-1"] != predicted.label["plain-1"]
    page.reload()
    page.fill("#filter", "mitoses")
    page.locator("#slides button").first.click()
    shows(page, "plain-1")
    assert page.locator("#verdict [value=relabel]").is_checked()
    page.click("#unsay")
    expect(page.locator("#unsay")).to_be_hidden()
    assert pd.read_csv(served / "run" / "verdicts.csv", na_filter=False).set_index("slide").verdict["plain-1"] == ""


def test_outlines_are_drawn_saved_for_qupath_and_removed(opened, address, served, made):
    page = opened(f"{address[0]}#{made.REAL}")
    path = served / "run" / "outlines" / f"{made.REAL}.geojson"
    x, y = middle(page)
    scale = um_per_px(page)
    page.keyboard.press("o")
    page.fill("#outline-class", "tumour")
    page.keyboard.press("Enter")
    page.mouse.move(x, y)
    page.mouse.down()
    for turn in range(1, 41):
        page.mouse.move(x + 60 * math.sin(turn / 20 * math.pi), y - 60 + 60 * math.cos(turn / 20 * math.pi))
    page.mouse.up()
    expect(page.locator("#outline-list li")).to_have_count(1)
    for corner in ((0, 0), (60, 0), (60, 60)):
        page.mouse.click(x + corner[0], y + corner[1], delay=20)
        page.wait_for_timeout(400)  # not a double click
    page.keyboard.press("Enter")
    expect(page.locator("#outline-list li")).to_have_count(2)
    circle, triangle = read_annotations(path, slide_size=(2220, 2967)).areas["tumour"].geoms
    px = scale / 0.499  # level-0 pixels of one on the screen
    assert circle.area == pytest.approx(math.pi * (60 * px) ** 2, rel=0.05)
    assert triangle.area == pytest.approx((60 * px) ** 2 / 2, rel=0.05)
    assert um_per_px(page) == scale  # it was drawn, not moved
    page.keyboard.press("Escape")
    for left in (1, 0):
        page.locator("#outline-list li").first.get_by_text("Remove").click()
        expect(page.locator("#outline-list li")).to_have_count(left)
    assert not path.exists()


def test_outlines_and_lengths_are_drawn_by_keys_alone(opened, address, served, made):
    page = opened(f"{address[0]}#{made.REAL}")
    path = served / "run" / "outlines" / f"{made.REAL}.geojson"
    px = um_per_px(page) / 0.499  # level-0 pixels of one on the screen

    def walk(key: str, steps: int) -> None:
        for _ in range(steps):
            page.keyboard.press(key)

    page.locator("#outline").focus()
    page.keyboard.press("Space")  # the button; the next Space is a corner
    page.keyboard.press("Space")
    walk("ArrowRight", 10)
    page.keyboard.press("Space")
    walk("ArrowLeft", 3)
    page.keyboard.press("Space")
    page.keyboard.press("Backspace")
    walk("ArrowRight", 3)
    walk("ArrowDown", 10)
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    expect(page.locator("#outline-list li")).to_have_count(1)
    (triangle,) = [one for kind in read_annotations(path, slide_size=(2220, 2967)).areas.values() for one in kind.geoms]
    assert triangle.area == pytest.approx((80 * px) ** 2 / 2, rel=0.02)
    assert page.locator("#outline").get_attribute("aria-pressed") == "true"
    page.locator("#outline-list li").first.get_by_text("Remove").press("Space")
    expect(page.locator("#outline-list li")).to_have_count(0)
    page.keyboard.press("m")
    page.keyboard.press("Space")
    walk("ArrowDown", 10)
    walk("ArrowLeft", 10)
    assert page.locator(".length").inner_text() == f"{math.hypot(80, 80) * um_per_px(page):.3g} µm"
    page.keyboard.press("Space")
    walk("ArrowUp", 5)  # both ends are set
    assert page.locator(".length").inner_text() == f"{math.hypot(80, 80) * um_per_px(page):.3g} µm"


def test_predictions_of_new_slides_have_a_page(opened, address, served):
    page = opened(f"{address[2]}#new-region")
    assert "3 new slides" in page.locator("#run-facts").inner_text()
    assert page.locator("#epochs").is_hidden()
    page.wait_for_function("() => document.querySelector('.pane').dataset.drawn === 'mean'")
    table = pd.read_csv(served / "predicted" / "predictions.csv").set_index("slide")
    if isinstance(said := table.warnings["new-region"], str) and said:
        assert page.locator("#facts .warning").all_text_contents() == said.split("; ")
    page.keyboard.press("1")
    expect(page.locator("#kept")).to_have_text("Saved in verdicts.csv")
    kept = pd.read_csv(served / "predicted" / "verdicts.csv", dtype=str, na_filter=False).set_index("slide")
    assert kept.label["new-region"] == table.prediction["new-region"]
    assert kept.label["new-plain-1"] == ""
    page.keyboard.press("s")
    assert "Percentile" in page.locator("body").inner_text()


def test_the_list_is_one_stop_and_the_arrows_walk_it(opened, address, made):
    page = opened(f"{address[0]}#{made.REAL}")
    assert page.locator("#slides button[tabindex='0']").count() == 1
    page.select_option("#sort", "name")
    page.locator("#sort").focus()
    for _ in range(4):  # past what else is in the head of the list
        page.keyboard.press("Tab")
        if page.evaluate("!!document.activeElement.closest('#slides')"):
            break
    focused = "document.activeElement.querySelector('.name')?.textContent"
    assert page.evaluate(focused) == made.REAL
    page.keyboard.press("Home")
    first = page.evaluate(focused)
    page.keyboard.press("ArrowDown")
    assert page.evaluate(focused) != first
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('#slides')") is None
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    shows(page, first)


def test_a_slider_keeps_its_arrows_and_shift_moves_the_slide(opened, address, made):
    page = opened(f"{address[0]}#{made.REAL}")
    page.locator("#opacity").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#opacity").input_value() == "56"
    close_to_a_tile(page)
    here = tile_at(page, *middle(page))
    page.keyboard.press("Shift+ArrowRight")
    page.wait_for_timeout(900)
    assert tile_at(page, *middle(page)) != here


@pytest.mark.parametrize("size", WIDTHS)
def test_no_window_is_too_narrow(opened, address, made, size):
    width, height = WIDTHS[size]
    page = opened(f"{address[0]}#{made.REAL}", width=width, height=height, has_touch=size != "desktop")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.wait_for_selector(".legend span")
    legend, *scale = (page.locator(f".{part}").first.bounding_box() for part in ("legend span", "scalebar", "power"))
    for box in scale:
        assert legend["y"] + legend["height"] <= box["y"] or legend["x"] >= box["x"] + box["width"]
    page.click("#after")
    page.wait_for_function(f"() => document.body.dataset.ready !== '{made.REAL}'")
    order = [page.locator(part).bounding_box()["y"] for part in ("main", "#verdict", "#list")]
    if size == "phone":
        assert order == sorted(order)
    shares = [text for text in page.locator("#slides .measure").all_inner_texts() if text]
    assert [text for text in shares if not re.match(r"\d+ % probability of ", text)] == []
    page.locator("#verdict [value=exclude]").check()
    expect(page.locator("#kept")).to_have_text("Saved in verdicts.csv")
    page.click("#unsay")
    expect(page.locator("#unsay")).to_be_hidden()


@pytest.mark.parametrize("size", ["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("shown", ["run", "statistics", "predictions"])
def test_axe_finds_nothing_serious(opened, address, made, size, scheme, shown):
    package = pytest.importorskip(
        "axe_playwright_python", reason="axe-playwright-python, which has axe-core, is missing"
    )
    source = (importlib.resources.files(package) / "axe.min.js").read_text(encoding="utf-8")
    width, height = WIDTHS[size]
    where = f"{address[2]}#new-region" if shown == "predictions" else f"{address[0]}#{made.REAL}"
    page = opened(where, width=width, height=height, color_scheme=scheme, statistics=shown == "statistics")
    page.keyboard.press("o")
    page.locator("#tiles button").first.click()
    page.evaluate(source)
    found, passed = page.evaluate(
        "async () => { const { violations, passes } = await axe.run(); return [violations, passes] }"
    )
    assert {"color-contrast", "button-name", "label"} <= {rule["id"] for rule in passed}
    said = [
        (rule["id"], rule["impact"], [node["target"] for node in rule["nodes"]][:5], rule["nodes"][0]["failureSummary"])
        for rule in found
        if rule["impact"] in ("serious", "critical")
    ]
    assert not said, json.dumps(said, indent=1)


def test_a_slide_that_the_filter_keeps_out_can_be_gone_to(opened, address, made):
    page = opened(f"{address[0]}#plain-1")
    page.fill("#filter", "no such slide")
    page.evaluate("name => { location.hash = name }", made.REAL)
    shows(page, made.REAL)
    assert page.locator("#slides button").count() == 0
