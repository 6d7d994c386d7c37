"""Objects that say in one line, and as a small table in notebooks, what they are."""

from collections.abc import Mapping
from html import escape


def number(value: float | None) -> str:
    """A number in plain text: four digits that count; "undefined" where there is none, or NaN.

    Pages have their own, with signs and dashes (`report.words`; of fixed decimals `study.tables`), and so have the
    ticks of axes (`figures.style`).
    """
    return "undefined" if value is None or value != value else f"{value:.4g}"


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
