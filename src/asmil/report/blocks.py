"""What a page is made of, as plain values: entries, tables, figures, sections; one template draws them all."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from markupsafe import Markup

from asmil.figures import figure_svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing


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

    `words` are sentences under headings of their own; `notes` follow the tables; `more` is text that opens on a click.
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


def figure(drawing: "Drawing", title: str, *, caption: str, wide: bool = False) -> Figure:
    """A drawing as SVG of the page's own colours and font; `title` is what a screen reader says."""
    return Figure(Markup(figure_svg(drawing, title=title)), caption, wide, float(drawing.get_figwidth()))
