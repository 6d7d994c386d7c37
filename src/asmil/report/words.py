"""What is known to what is read: numbers with the digits that matter, and the sentences of `templates/*.txt.jinja`.

A file of sentences has parts, each under a line `== name`; an empty line ends a paragraph. What stands before the first
part, macros and imports, is for all of them.
"""

import importlib.resources
import re
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from asmil import shown
from asmil.files import Facts


def plural(n: int, word: str) -> str:
    """ "1 slide", "2 slides", "1,200 slides"."""
    return f"{n:,} {word}{'' if n == 1 else 's'}"


def number(value: Any, digits: int = 3) -> str:
    """A number for a table: fixed digits below 10, fewer above; a dash for what is not known.

    What fixed digits would show as 0 is written as 3.2e-06, what they would show as 1 with up to six of them.
    """
    value = pd.to_numeric(value, errors="coerce") if not isinstance(value, dict) else value.get("value")
    if value is None or not np.isfinite(value):
        return "–"
    if float(value).is_integer() and abs(value) >= 1:
        return f"{int(value):,}".replace("-", "−")
    if 0 < abs(value) < 0.5 * 10**-digits:
        return ("−" if value < 0 else "") + f"{abs(value):.1e}"
    return (shown.fixed(value, digits) if abs(value) < 10 else f"{value:,.1f}").replace("-", "−")


def span(low: object, high: object, digits: int = 3) -> str:
    """An interval: "0.830 – 0.950", or a dash where there is none."""
    ends = number(low, digits), number(high, digits)
    return "–" if ends == ("–", "–") else " – ".join(ends) if "−" not in "".join(ends) else " to ".join(ends)


def interval_of(score: Facts) -> str:
    """That of a metric, as metrics.json has it: `ci95`."""
    return span(*(score.get("ci95") or (None, None)))


def signed(value: float | None, digits: int = 3) -> str:
    """A difference with its sign."""
    text = number(value, digits)
    return f"+{text}" if value is not None and value > 0 and text[0].isdigit() else text


def percent(share: float | None) -> str:
    """A share as per cent without digits that a few slides cannot carry, but those that tell it from 0 and 100."""
    return "–" if share is None or not np.isfinite(share) else shown.percent(share)


def plain(value: object) -> str:
    """A setting as text: lists with commas, nothing as a dash, in a group left out."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(plain(v) for v in value)
    if isinstance(value, dict):
        return ", ".join(f"{k} {plain(v)}" for k, v in value.items() if v is not None)
    return str(value)


def listed(names: list[str], most: int = 6) -> str:
    """ "a, b and c"; of more than `most` the first ones and how many more."""
    if len(names) > most:
        names = [*names[:most], f"{len(names) - most} more"]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def duration(seconds: float) -> str:
    """ "0.4 s", "12 s", "3 min 20 s", "2 h 5 min"."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def paragraphs(file: str, part: str, **values: object) -> tuple[str, ...]:
    """The sentences of a part of a file, as plain text: a page escapes them when it shows them."""
    text = _part(file, part).render(**values)
    several = (" ".join(block.split()) for block in re.split(r"\n\s*\n", text))
    return tuple(one for one in several if one)


def sentence(file: str, part: str, **values: object) -> str:
    """The same in one line; empty where there is nothing to say."""
    return " ".join(paragraphs(file, part, **values))


def page_environment(*, escape: bool) -> Environment:
    """Templates of the package, which can write numbers as this module does; a value that is not given is an error."""
    environment = Environment(
        loader=PackageLoader("asmil", "."),
        autoescape=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=None if escape else _in_line,
    )
    own = {function.__name__: function for function in (number, percent, plural, plain, listed)}
    environment.filters |= own | {"interval": _interval, "words": lambda name: str(name).replace("_", " ")}
    return environment


def _interval(ends: object) -> str:
    return span(*ends) if isinstance(ends, list | tuple) else span(None, None)


def _in_line(value: object) -> object:
    """A name from elsewhere must not end a paragraph."""
    return " ".join(value.split()) if isinstance(value, str) and "\n" in value else value


@cache
def _part(file: str, part: str) -> Template:
    source = (importlib.resources.files("asmil.report") / "templates" / f"{file}.txt.jinja").read_text("utf-8")
    head, *parts = re.split(r"^== (.+)\n", source, flags=re.MULTILINE)
    return page_environment(escape=False).from_string(head + dict(zip(parts[::2], parts[1::2], strict=True))[part])
