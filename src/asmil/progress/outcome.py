"""What became of every slide: ok, skipped or failed, with the stage and the reason."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from asmil.errors import AsmilError, TissueError
from asmil.files import write_csv

OK, NOTED, SKIPPED, FAILED = "ok", "noted", "skipped", "failed"
"""From best to worst: it went through; there is a remark, and nothing is lost; there was nothing in it to work on; it
should have gone through and did not. The last two were set aside."""
RANK = {OK: 0, NOTED: 1, SKIPPED: 2, FAILED: 3}
COLUMNS = ("name", "result", "stage", "reason")
FAILURES = "failures.csv"
"""The table of what was not ok, wherever a command writes it."""


class SetAside(UserWarning):
    """Slides or annotations are not in the result; they are named."""


@dataclass(frozen=True)
class Row:
    """What there is to say of one slide, or of the tables."""

    name: str
    result: str
    stage: str
    reason: str


@dataclass
class Outcome:
    """What a command or call did, slide by slide.

    A name counts once: the worst of its results is the one that is reported, with all of its remarks.
    """

    _done: set[str] = field(default_factory=set)
    _rows: dict[str, Row] = field(default_factory=dict)

    def ok(self, *names: str) -> None:
        """Note slides that went through."""
        self._done.update(names)

    def noted(self, name: str, *, stage: str, reason: str) -> None:
        """Note a remark about a slide, file or table that is not missed: a file without a label, say."""
        self._note(Row(name, NOTED, stage, reason))

    def skipped(self, name: str, *, stage: str, reason: str) -> None:
        """Note a slide with nothing in it to work on: no tissue, or the same content as another."""
        self._note(Row(name, SKIPPED, stage, reason))

    def failed(self, name: str, *, stage: str, reason: str) -> None:
        """Note a slide that should have gone through and did not."""
        self._note(Row(name, FAILED, stage, reason))

    def _note(self, row: Row) -> None:
        before = self._rows.get(row.name)
        if before is None or RANK[before.result] < RANK[row.result]:
            self._rows[row.name] = row
        elif row.result == before.result == NOTED and row.reason not in before.reason.split("; "):
            self._rows[row.name] = replace(before, reason=f"{before.reason}; {row.reason}")

    @contextmanager
    def attempt(self, name: str, *, stage: str) -> Iterator[None]:
        """Do one slide's work; what is wrong with that slide is noted and the others go on.

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
        """Everything there is to say, the worst first."""
        return sorted(self._rows.values(), key=lambda row: (-RANK[row.result], row.name))

    @property
    def set_aside(self) -> list[Row]:
        """What is not in the result: failed and skipped slides, failed first."""
        return [row for row in self.rows if row.result in (SKIPPED, FAILED)]

    @property
    def whole(self) -> bool:
        """Whether nothing was set aside."""
        return not self.set_aside

    @property
    def counts(self) -> dict[str, int]:
        """How many slides are ok, skipped, failed."""
        counts = Counter(row.result for row in self._rows.values())
        lost = {row.name for row in self.set_aside}
        return {OK: len(self._done - lost), SKIPPED: counts[SKIPPED], FAILED: counts[FAILED]}

    def __str__(self) -> str:
        return ", ".join(f"{number} {result}" for result, number in self.counts.items())

    def write(self, path: str | Path) -> None:
        """Write all rows as CSV, atomically; only the header if there are none."""
        write_csv(path, COLUMNS, map(asdict, self.rows))
