"""What a page is made of, as plain values, and how a template and these become one self-contained file, or a PDF."""

import importlib.resources
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from asmil.errors import RunError
from asmil.figures import figure_svg
from asmil.files import Facts, write_text, written_beside
from asmil.report.words import interval_of, number, page_environment

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

# What a page is made of, as plain values: entries, tables, figures, sections; one template draws them all.


@dataclass(frozen=True)
class Entry:
    """One place of a table: its text, an interval set small beside it, whether it stands out, where it leads.

    `mark` ("good", "bad") colours what the text already says.
    """

    text: str
    interval: str = ""
    strong: bool = False
    link: str = ""
    mark: str = ""


@dataclass(frozen=True)
class Table:
    """A table ready to be shown; `left` is the number of columns that hold names, the first of them heads its row.

    `ids` are the rows' anchors for links; with `sorts` a click on a title sorts; `wrap` are columns of running text.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    left: int = 1
    note: str = ""
    ids: tuple[str, ...] = ()
    sorts: bool = False
    wrap: tuple[str, ...] = ()


@dataclass(frozen=True)
class Figure:
    """A drawing inside the page with the sentence that says how to read it.

    A wide one has a row to itself; `width_in` is the width it was drawn for, in inches.
    """

    svg: Markup
    caption: str
    wide: bool = False
    width_in: float = 6.8


@dataclass(frozen=True)
class Section:
    """A part of a page: heading, warnings, sentences, figures, tables; `id` is its place in the contents.

    `words` are sentences under headings of their own; `notes` follow the tables; `more` is text that opens on a click;
    `short` is the title in the bar of contents.
    """

    id: str
    title: str
    lead: str = ""
    says: tuple[str, ...] = ()
    words: tuple[tuple[str, tuple[str, ...]], ...] = ()
    warns: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    short: str = ""
    more: tuple[str, tuple[tuple[str, str], ...]] | None = None

    @property
    def empty(self) -> bool:
        """Whether there is nothing in it but a heading."""
        return not (self.says or self.words or self.warns or self.figures or self.tables or self.notes)


@dataclass(frozen=True)
class TaskPart:
    """What a task other than single-label classification adds to the page of a run.

    `metric` is the key of metrics.json's `test` that stands at the top, `chance` its value without skill (None: no
    verdict is made), `names` the words for the keys of `test`, `sections` what follows the table of metrics.
    """

    metric: str
    chance: float | None = None
    names: dict[str, str] = field(default_factory=dict)
    sections: tuple[Section, ...] = ()


def entries(*texts: object) -> tuple[Entry, ...]:
    """A row of plain texts."""
    return tuple(Entry(str(text)) for text in texts)


def scored(score: Facts) -> Entry:
    """A metric as metrics.json has it: its value and interval."""
    return Entry(number(score.get("value")), interval_of(score))


def figure(drawing: "Drawing", title: str, *, caption: str, wide: bool = False) -> Figure:
    """A drawing as SVG of the page's own colours and font; `title` is what a screen reader says."""
    return Figure(Markup(figure_svg(drawing, title=title)), caption, wide, float(drawing.get_figwidth()))


BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "msedge",
    "microsoft-edge",
    "brave-browser",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
BY_HAND = "open the page in any browser and choose Print, Save as PDF: it has a style for paper"


def write_page(path: Path, template: str, *, partial: str = "", **values: object) -> Path:
    """Fill a template and write the page: see `filled`."""
    write_text(path, filled(template, partial=partial, **values))
    return path


def filled(template: str, *, partial: str = "", **values: object) -> str:
    """A template of the package (`report/templates/run.html.jinja`) with its values, each of them escaped.

    `partial` stands at its head where the page is made of a part of what there should be.
    """
    style = (importlib.resources.files("asmil.report") / "templates" / "style.css").read_text(encoding="utf-8")
    found = page_environment(escape=True).get_template(template)
    return found.render(style=Markup(style), partial=partial, **values)


def find_browser() -> str | None:
    """The first browser of the Chromium family on this machine."""
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


def write_pdf(page: Path, *, browser: str | None = None, seconds: float = 300) -> Path:
    """Print a page to a PDF of the same name beside it; nothing is fetched.

    Args:
        browser: a program of the Chromium family; None takes the first that is found.
        seconds: after this time the browser is stopped.

    Returns:
        The path of the PDF.

    Raises:
        RunError: there is no such browser, or it wrote no PDF.
    """
    program = browser or find_browser()
    if program is None:
        raise RunError("there is no browser here that can write a PDF", found="no Chromium or Chrome", fix=BY_HAND)
    path = page.with_suffix(".pdf")
    with tempfile.TemporaryDirectory(prefix="asmil-print-") as folder:
        printed = Path(folder) / "page.pdf"
        command = [
            program,
            "--headless",
            "--disable-gpu",
            "--no-first-run",
            "--disable-extensions",
            "--no-pdf-header-footer",
            f"--user-data-dir={folder}/profile",
            f"--print-to-pdf={printed}",
            page.resolve().as_uri(),
        ]
        if hasattr(os, "geteuid") and os.geteuid() == 0:  # as root Chromium starts only so; the page is our own
            command.insert(1, "--no-sandbox")
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise RunError(f"{program} did not print {page.name}", found=error, fix=BY_HAND) from error
        if not printed.is_file() or not printed.read_bytes().startswith(b"%PDF"):
            last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise RunError(f"{program} wrote no PDF of {page.name}", found=last, fix=BY_HAND)
        with written_beside(path) as partial:
            shutil.copyfile(printed, partial)
    return path
