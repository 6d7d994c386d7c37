"""What a person says of slides in the viewer, kept beside what was looked at: a table that `--labels` reads."""

import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from asmil.errors import RunError, blaming
from asmil.files import Facts, write_text
from asmil.runs import verdicts_file

COLUMNS = ("slide", "case", "label", "verdict", "note", "date")
VERDICTS = ("agree", "relabel", "exclude")
"""The label is right, it is another one, or the slide is not to be learned from."""
NOTHING: Facts = {"verdict": "", "label": "", "note": "", "date": ""}
MOST_NOTE = 4000


class Verdicts:
    """verdicts.csv of a folder: a row per slide with its label as it should be, which `--labels` reads.

    Safe for many threads. A row that somebody added is kept as it is.
    """

    def __init__(self, folder: Path):
        self.path = verdicts_file(folder)
        self._lock = threading.Lock()

    def read(self) -> dict[str, Facts]:
        """Verdict, label, note and date by slide, of those of which something was said.

        Raises:
            RunError: the file is no such table.
        """
        with self._lock:
            rows = self._table().to_dict("records")
        return {row["slide"]: {name: row[name] for name in NOTHING} for row in rows if row["verdict"] or row["note"]}

    def _table(self) -> pd.DataFrame:
        if not self.path.exists():
            return pd.DataFrame(columns=list(COLUMNS), dtype=str)
        fix = f"mend it, or move it away: it is a csv of {', '.join(COLUMNS)}"
        with blaming(RunError, f"{self.path} cannot be read", fix=fix):
            table = pd.read_csv(self.path, dtype=str, na_filter=False)
        if lacking := [name for name in COLUMNS if name not in table]:
            raise RunError(f"{self.path} is no table of verdicts", found=f"no column {lacking[0]}", fix=fix)
        return table

    def say(self, slide: str, said: Mapping[str, object], *, rows: Sequence[Facts], classes: Sequence[str]) -> Facts:
        """Keep what is said of a slide: `verdict` ("" takes it back), `note`, and with "relabel" the `label`.

        The table has a row for every slide of `rows` (slide, case, label, predicted). "agree" is with the label or,
        where there is none, with the prediction, which becomes the label.

        Raises:
            RunError: it is no verdict, no class, or a note that is too long; or the file is no such table.
        """
        verdict, note, label = (str(said.get(name) or "") for name in ("verdict", "note", "label"))
        if verdict not in ("", *VERDICTS):
            raise RunError("there is no such verdict", found=verdict[:40], fix=f"say one of {', '.join(VERDICTS)}")
        if verdict == "relabel" and label not in classes:
            raise RunError("there is no such class", found=label[:40] or "none", fix=f"one of {', '.join(classes)}")
        if len(note) > MOST_NOTE or "\0" in note:
            raise RunError("the note is too long", found=f"{len(note):,} letters", fix=f"at most {MOST_NOTE:,}")
        own = next(row for row in rows if row["slide"] == slide)
        known = own["label"] or (own["predicted"] if verdict == "agree" else "")
        now = datetime.now(UTC).isoformat(timespec="seconds") if verdict or note else ""
        row = {"verdict": verdict, "label": label if verdict == "relabel" else known, "note": note, "date": now}
        with self._lock:
            table = self._table()
            unknown = [one for one in rows if one["slide"] not in set(table["slide"])]
            added = pd.DataFrame([dict.fromkeys(COLUMNS, "") | _known(one) for one in unknown], columns=list(COLUMNS))
            table = pd.concat([table, added], ignore_index=True).fillna("")
            table.loc[table["slide"] == slide, list(row)] = list(row.values())
            write_text(self.path, table.to_csv(index=False))
        return row


def _known(row: Facts) -> Facts:
    return {name: row[name] for name in ("slide", "case", "label")}
