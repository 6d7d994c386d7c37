"""The documentation as a whole: pages all in the nav, no dead link, places in the code that exist, true references."""

import ast
import importlib.util
import re
import sys
from functools import cache
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
import doc_pages as doc

_LINK = re.compile(r"\]\(([^)\s]+?)(?:#([^)\s]*))?\)")
_WHERE = re.compile(r"`([a-z_]+(?:/[a-z_]+)+\.py): ([\w, ]+)`")
ELSEWHERE = ("http:", "https:", "mailto:")
every_page = pytest.mark.parametrize("page", [*doc.PAGES, *doc.FRONT], ids=doc.name)


def test_every_page_is_in_the_nav_once_and_every_entry_is_a_page():
    assert sorted(doc.nav()) == [page.relative_to(doc.DOCS).as_posix() for page in doc.PAGES]


@cache
def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as Python-Markdown makes them."""
    prose = re.sub(r"(?ms)^ *```.*?^ *```+ *$", "", page.read_text(encoding="utf-8"))
    titles = re.findall(r"(?m)^#+ +(.+?) *$", prose)
    plain = (re.sub(r"[`*]|\]\([^)]*\)|\[", "", title).lower() for title in titles)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title).strip()) for title in plain}


@every_page
def test_links_lead_somewhere(page):
    prose = re.sub(r"(?ms)^ *```.*?^ *```+ *$|`[^`\n]+`", "", page.read_text(encoding="utf-8"))
    for target, anchor in _LINK.findall(prose):
        if target.startswith(ELSEWHERE) or target.startswith("#"):
            continue
        place = (page.parent / target).resolve()
        assert place.exists(), f"{doc.name(page)}: {target} is not there"
        if page in doc.PAGES:
            assert place.is_relative_to(doc.DOCS), f"{doc.name(page)}: {target} is not on the site"
        if anchor and place.suffix == ".md":
            assert anchor in _anchors(place), f"{doc.name(page)}: {target} has no heading {anchor!r}"


@every_page
def test_places_in_the_code_exist(page):
    """`attention/anchor.py: Anchor` names a file of src/asmil and what is defined in it."""
    for file, names in _WHERE.findall(page.read_text(encoding="utf-8")):
        source = doc.ROOT / "src" / "asmil" / file
        assert source.exists(), f"{doc.name(page)}: there is no {file}"
        tree = ast.parse(source.read_text(encoding="utf-8"))
        defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        defined |= {t.id for n in tree.body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)}
        missing = {name.strip() for name in names.split(",")} - defined
        assert not missing, f"{doc.name(page)}: {file} does not define {', '.join(missing)}"


def _hooks():
    spec = importlib.util.spec_from_file_location("hooks", doc.DOCS / "hooks.py")
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    return hooks


def test_every_room_but_the_commands_has_a_page():
    doors = {file.parent.name for file in (doc.ROOT / "src" / "asmil").glob("*/__init__.py")}
    assert set(_hooks().ROOMS) == doors - {"cli"}


def test_the_page_of_commands_says_what_the_help_says(capsys):
    """Every flag of `asmil COMMAND --help` is in the command's section, and no other."""
    from asmil.cli import _load, command_summaries

    sections = dict(re.findall(r"(?ms)^## asmil (\S+)\n(.*?)(?=^## |\Z)", _hooks().commands_page()))
    assert list(sections) == list(command_summaries())
    for name, section in sections.items():
        _load(name).main(args=["--help"], prog_name=name, standalone_mode=False)
        helped = capsys.readouterr().out
        shown = set(re.findall(r"`(--[\w-]+)`", section))
        assert shown == set(re.findall(r"(?<![\w-])--[a-z][\w-]*", _options(helped))) - {"--help"}, name


def _options(helped: str) -> str:
    """The column of the flags: what begins a line of the options, before the text beside it."""
    lines = helped.partition("Options:")[2].splitlines()
    return "\n".join(re.split(r" {2,}", line.strip())[0] for line in lines if re.match(r" {2}-", line))
