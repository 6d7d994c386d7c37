"""The page of a study: self-contained, true to the tables, and silent about what was not measured."""

import importlib.util
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from asmil.errors import RunError
from asmil.study.analysis import analyse
from asmil.study.page import write_study_report
from asmil.study.words import sentences

_SPEC = importlib.util.spec_from_file_location("fake_results", Path(__file__).with_name("fake_results.py"))
fake_results = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(fake_results)
VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """Checks that tags close in order, and collects text, links and ids."""

    def __init__(self, source: str):
        super().__init__()
        self.open, self.text, self.links, self.ids = [], [], [], []
        self.feed(source)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.links += [attrs["href"]] if tag == "a" else []
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.open += [] if tag in VOID else [tag]

    def handle_startendtag(self, tag, attrs):
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += [data.strip()] if self.open and self.open[-1] not in ("style", "script") else []


def _written(folder, table):
    source = write_study_report(
        fake_results.write(folder, table, epochs=5, histories=("abmil",)), bootstrap=20
    ).read_text(encoding="utf-8")
    return source, Page(source)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    models = ("mean", "abmil", "asmil")
    table = fake_results.results(datasets=2, models=models, stabilizers=("none", "anchor"), folds=2, seeds=2)
    return _written(tmp_path_factory.mktemp("study") / "my study", table)


def test_the_page_needs_nothing_else(page):
    source, parsed = page
    assert not re.search(r"(src|href)=\"(?!#|data:)", source)
    assert "url(http" not in source
    assert "<script" not in source
    assert len(parsed.ids) == len(set(parsed.ids))


def test_every_link_of_the_contents_leads_somewhere(page):
    _, parsed = page
    wanted = {"#differences", "#ranks", "#stability", "#learning", "#summary"}
    assert wanted <= set(parsed.links)
    assert {link.removeprefix("#") for link in parsed.links if link.startswith("#")} <= set(parsed.ids)


def test_the_page_shows_a_forest_a_ranking_a_scatter_and_learning_curves(page):
    source, parsed = page
    titles = re.findall(r'aria-label="([^"]+)"', source)
    assert {"Differences of AUROC", "Differences of tile AP", "Ranks of the models, none", "Stability and AUROC",
            "Learning curves, abmil on data1"} <= set(titles)  # fmt: skip
    assert "my study" in parsed.text


def test_words_name_what_was_built_in_and_count_the_comparisons():
    table = fake_results.results(datasets=2, models=("abmil", "asmil"), folds=5, seeds=3)
    words = sentences(analyse(table, bootstrap=20))
    assert any("AUROC is higher with anchor in 4 of 4" in text for text in words["What differs"])
    assert not any("with weak" in text for text in words["What differs"])
    assert any(text.startswith("AUROC with weak") and "4 of 4" in text for text in words["What does not"])
    assert any("8 comparisons for each metric" in text and "about 0.4" in text for text in words["What was compared"])
    assert any("cannot give a p below 0.5:" in text for text in words["What cannot be said"])
    assert any("by +0.050" in text for text in words["Chosen on the test part"])


def test_words_claim_no_difference_where_there_is_none():
    table = fake_results.results(datasets=1, models=("abmil",), stabilizers=("none", "weak"), tiles=False)
    words = sentences(analyse(table.assign(jsd=np.nan), bootstrap=20))
    assert words["What differs"] == ["No difference holds after adjustment."]
    cannot = " ".join(words["What cannot be said"])
    assert "Not measured in any cell: tile AP, log10 JSD." in cannot
    assert "One dataset" in cannot
    assert "Stability and performance" not in words


def test_words_warn_where_all_cells_share_their_test_slides():
    table = fake_results.results(datasets=1, models=("abmil",), folds=1, seeds=4).assign(split="official")
    words = sentences(analyse(table, bootstrap=20))
    assert any("data0: all cells are tested on the same slides" in text for text in words["What cannot be said"])


@pytest.mark.parametrize(
    "options",
    [
        {"models": ("mean",), "stabilizers": ("none",)},
        {"models": ("abmil",), "stabilizers": ("anchor", "weak")},
        {"models": ("abmil",), "folds": 1, "seeds": 1},
    ],
)
def test_a_small_study_gives_a_page_that_says_what_it_lacks(options, tmp_path):
    table = fake_results.results(**{"datasets": 1, "tiles": False, "folds": 2, "seeds": 2} | options)
    source = write_study_report(_only_results(tmp_path, table), bootstrap=20).read_text(encoding="utf-8")
    parsed = Page(source)
    text = " ".join(parsed.text)
    assert "Models are not ranked" in text
    assert "nan" not in re.sub(r"<svg.*?</svg>|<style.*?</style>", "", source, flags=re.DOTALL).lower().split()
    assert "No diagram of critical differences" in text


def test_a_study_without_histories_or_results(tmp_path):
    table = fake_results.results(datasets=1, models=("abmil",), folds=2, seeds=1)
    table.to_csv(tmp_path / "results.csv", index=False)
    source = write_study_report(tmp_path, bootstrap=20).read_text(encoding="utf-8")
    assert 'id="learning"' not in source
    with pytest.raises(RunError, match=r"results\.csv"):
        write_study_report(tmp_path / "nothing")


def test_names_from_elsewhere_are_text(tmp_path):
    table = fake_results.results(datasets=1, models=("a<b>",), stabilizers=("none", "$x$"), folds=2, seeds=1)
    table = table.drop(columns=["tile_ap", "jsd", "test_accuracy"])
    source = write_study_report(_only_results(tmp_path, table), bootstrap=20).read_text(encoding="utf-8")
    assert "<b>" not in re.sub(r"<svg.*?</svg>", "", source, flags=re.DOTALL)
    assert "$x$" in source


def _only_results(folder, table):
    table.to_csv(folder / "results.csv", index=False)
    return folder
