"""Values and a template to one self-contained HTML page: the style of runs, comparisons and studies."""

import importlib.resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from asmil.files import write_text


def write_page(path: Path, template: str, *, partial: str = "", **values: Any) -> Path:
    """Fill a template of the package (`report/run.html.jinja`) and write the page; every value is escaped.

    `partial` stands at its head where the page is made of a part of what there should be.
    """
    environment = Environment(
        loader=PackageLoader("asmil", "."), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    style = (importlib.resources.files("asmil.report") / "style.css").read_text(encoding="utf-8")
    write_text(path, environment.get_template(template).render(style=Markup(style), partial=partial, **values))
    return path
