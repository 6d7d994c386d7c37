"""Objects that say in one line, and as a small table in notebooks, what they are."""

import math
from collections.abc import Mapping
from html import escape


def number(value: float | None) -> str:
    """A number in plain text: four digits that count; "undefined" where there is none, or NaN.

    Pages have their own, with signs and dashes (`report.words`; of fixed decimals `study.tables`), and so have the
    ticks of axes (`figures.style`).
    """
    return "undefined" if value is None or value != value else _not_all(f"{value:.4g}", value)


def fixed(value: float, digits: int = 3) -> str:
    """A number with fixed decimals, and with up to six where these would be a 1 that it is not: 0.9996."""
    return _not_all(f"{value:.{digits}f}", value)


ALMOST = 0.999999
"""What is shown of a number between it and 1."""


def _not_all(text: str, value: float) -> str:
    if not abs(value) < 1 or abs(float(text)) < 1:
        return text
    return f"{math.copysign(min(abs(value), ALMOST), value):.6f}".rstrip("0")


def percent(share: float, unit: str = "\N{NO-BREAK SPACE}%") -> str:
    """A share in whole per cent, and with decimals where these would be a 0 or 100 that it is not: 99.8 %."""
    for digits in range(3):
        text = f"{100 * share:.{digits}f}"
        if share in (0, 1) or float(text) not in (0, 100):
            return text + unit
    return ("> 99.99" if share > 0.5 else "< 0.01") + unit


_STYLE = "text-align:left;vertical-align:top;padding:1px 12px 1px 0"


class Shown:
    """A class whose `facts`, by name, are its `repr` and its table in a notebook.

    `facts` of {"slides": 12, "encoder": "uni"} are `Cohort(slides 12, encoder uni)`.
    Facts are short texts or numbers; one that is None is left out. They are asked for whenever the object is looked at,
    so they have to be cheap, and must not raise.
    """

    def facts(self) -> Mapping[str, object]:
        """What to say, the most important first."""
        raise NotImplementedError

    def _said(self) -> dict[str, str]:
        return {name: _short(value) for name, value in self.facts().items() if value is not None}

    def __repr__(self) -> str:
        said = ", ".join(f"{name} {text}" for name, text in self._said().items())
        return f"{type(self).__name__}({said})"

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><th style="{_STYLE}">{escape(name)}</th><td style="{_STYLE}">{escape(text)}</td></tr>'
            for name, text in self._said().items()
        )
        return f"<table><caption>{type(self).__name__}</caption>{rows}</table>"


def _short(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    text = " ".join(str(value).split())  # a name from elsewhere may hold line ends
    return text if len(text) <= 120 else f"{text[:117]}..."
