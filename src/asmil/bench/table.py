"""What a benchmark found, to look at: tables on a terminal and as Markdown, and the curve of cost as a picture."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from asmil.bench.parts.curve import MEMORY, PART, TIME, tiles_of
from asmil.bench.rows import Row
from asmil.bench.runner import Change
from asmil.figures import cost_figure, write_figure


def print_rows(title: str, rows: Sequence[Row], *, console: Console, as_markdown: bool = False) -> None:
    """One table, a line per case and a column per measure; below it why a value is missing."""
    head, lines = _cells(rows)
    if as_markdown:
        marked = [head, ["---"] * len(head), *lines]
        text = "\n".join(f"| {' | '.join(line)} |" for line in marked)
        console.print(Text(f"**{title}**\n\n{text}"), soft_wrap=True)
    else:
        table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
        for index, name in enumerate(head):
            table.add_column(Text(name), justify="right" if index else "left", overflow="fold")
        for line in lines:
            table.add_row(*map(Text, line))
        console.print(table)
    for row in rows:
        if row.note:
            console.print(Text(f"{row.case}: {row.note}", style="yellow"))
    console.print()


def print_changes(changes: Sequence[Change], *, console: Console) -> None:
    """What got worse or better beyond its tolerance, and how many ratios are as they were."""
    told = [change for change in changes if change.verdict != "same"]
    if told:
        table = Table("", "ratio", "then", "now", "worse by", "tolerance", box=None, pad_edge=False)
        for change in sorted(told, key=lambda change: (change.verdict, -change.worse_by)):
            now = format_value(change.now.value) if change.now else ""
            shares = f"{change.worse_by:+.0%}", f"{change.tolerance:.0%}"
            line = change.verdict, change.then.name, format_value(change.then.value), now, *shares
            table.add_row(*map(Text, line), style=_STYLES.get(change.verdict))
        console.print(table)
    same = len(changes) - len(told)
    console.print(f"{same} of {len(changes)} ratios are within their tolerance")


def format_value(value: float | None) -> str:
    """Three digits without an exponent."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


_STYLES = {"worse": "red", "failed": "red", "better": "green"}


def _cells(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    measures = list(dict.fromkeys(row.measure for row in rows))
    cases = list(dict.fromkeys(row.case for row in rows))
    units = {row.measure: row.unit for row in rows if row.unit and row.unit != "x"}
    values = {(row.case, row.measure): row.value for row in rows}
    head = ["", *(f"{m}, {units[m]}" if m in units else m for m in measures)]
    lines = [
        [case, *(format_value(values[case, m]) if (case, m) in values else "" for m in measures)] for case in cases
    ]
    return head, lines


def write_curve(path: str | Path, rows: Sequence[Row]) -> list[Path]:
    """Draw time and memory per tile of the curve's rows as PNG and SVG; nothing where there is no point."""
    values = {(row.measure, tiles_of(row)): row.value for row in rows if row.part == PART and row.value is not None}
    tiles = sorted(tiles for measure, tiles in values if measure == TIME)
    if not tiles:
        return []
    time, memory = ([values[measure, count] for count in tiles] for measure in (TIME, MEMORY))
    return write_figure(cost_figure(tiles, microseconds=time, bytes_held=memory), path)
