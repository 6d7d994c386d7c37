"""What became of every slide: ok, skipped or failed, with the stage and the reason."""

import csv
import io
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from asmil.errors import AsmilError, TissueError
from asmil.files import write_text

OK, SKIPPED, FAILED = "ok", "skipped", "failed"
COLUMNS = ("name", "result", "stage", "reason")


@dataclass(frozen=True)
class Row:
    """One slide that did not go through, and why."""

    name: str
    result: str
    stage: str
    reason: str


@dataclass
class Outcome:
    """The closing table of a command.

    A name counts once: the worst of its results is the one that is reported.
    """

    _done: set[str] = field(default_factory=set)
    _rows: dict[str, Row] = field(default_factory=dict)

    def ok(self, name: str) -> None:
        """Note that a slide went through."""
        self._done.add(name)

    def skipped(self, name: str, *, stage: str, reason: str) -> None:
        """Note a slide that has nothing to work on (no tissue, no label)."""
        if name not in self._rows:
            self._rows[name] = Row(name, SKIPPED, stage, reason)

    def failed(self, name: str, *, stage: str, reason: str) -> None:
        """Note a slide that should have gone through and did not."""
        if self._rows.get(name, Row(name, OK, "", "")).result != FAILED:
            self._rows[name] = Row(name, FAILED, stage, reason)

    @contextmanager
    def attempt(self, name: str, *, stage: str) -> Iterator[None]:
        """Do one slide's work; what is wrong with that slide is noted and the command goes on.

        No tissue is a skip, any other `AsmilError` and every file error a failure. Everything else (out of
        memory, a bug, ctrl-C) is not about one slide and is raised.
        """
        try:
            yield
        except TissueError as error:
            self.skipped(name, stage=stage, reason=str(error))
        except (AsmilError, OSError) as error:
            self.failed(name, stage=stage, reason=str(error))

    @property
    def rows(self) -> list[Row]:
        """Skipped and failed slides, failed first."""
        return sorted(self._rows.values(), key=lambda row: (row.result != FAILED, row.name))

    @property
    def counts(self) -> dict[str, int]:
        """How many slides are ok, skipped, failed."""
        counts = Counter(row.result for row in self._rows.values())
        return {OK: len(self._done - self._rows.keys()), SKIPPED: counts[SKIPPED], FAILED: counts[FAILED]}

    @property
    def exit_code(self) -> int:
        """1 where anything failed, else 0."""
        return int(any(row.result == FAILED for row in self._rows.values()))

    def print_table(self) -> None:
        """Print the skipped and failed slides with stage and reason, and the counts, to stderr."""
        from rich.console import Console
        from rich.table import Table

        console = Console(stderr=True, width=None if sys.stderr.isatty() else 160, highlight=False)
        if self._rows:
            table = Table(*COLUMNS, box=None, pad_edge=False, header_style="bold")
            for row in self.rows:
                table.add_row(*(_plain(text) for text in (row.name, row.result, row.stage, row.reason)))
            console.print(table)
        console.print(", ".join(f"{n} {result}" for result, n in self.counts.items()))

    def write(self, path: str | Path) -> None:
        """Write the skipped and failed slides as CSV, atomically; only the header if there are none."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows((row.name, row.result, row.stage, row.reason) for row in self.rows)
        write_text(path, text.getvalue())


def _plain(text: str):
    from rich.text import Text

    return Text(text)  # a slide name may hold what rich would read as markup
