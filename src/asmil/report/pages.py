"""Values and a template to one self-contained HTML page of a run, a comparison or a study; and that to PDF."""

import importlib.resources
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from markupsafe import Markup

from asmil.errors import RunError
from asmil.files import write_text, written_beside
from asmil.report.words import page_environment

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


def write_page(path: Path, template: str, *, partial: str = "", **values: Any) -> Path:
    """Fill a template of the package (`report/templates/run.html.jinja`) and write the page; every value is escaped.

    `partial` stands at its head where the page is made of a part of what there should be.
    """
    style = (importlib.resources.files("asmil.report") / "templates" / "style.css").read_text(encoding="utf-8")
    filled = page_environment(escape=True).get_template(template)
    write_text(path, filled.render(style=Markup(style), partial=partial, **values))
    return path


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
