"""What a benchmark measures and finds: the sizes of its parts, one number a row, and the files that keep them."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from asmil.errors import ConfigError
from asmil.files import write_json

LOWER, HIGHER = "lower", "higher"


@dataclass(frozen=True)
class Scale:
    """Sizes of all parts. `seconds` is what one function is timed for; it runs once at least.

    `step_tiles` x `step_dims` (input features, width of the model) are the cases of the training step; `models` the
    names to measure (None: all) on a bag of `model_tiles`; `slides` x `slide_tiles` x `slide_dim` the generated cohort;
    `folds` x `seeds` are trained at once on `cell_bags` bags; `curve_tiles` are the bags of the curve of cost.
    """

    seconds: float = 2.0
    step_tiles: tuple[int, ...] = (1_000, 10_000, 30_000, 100_000)
    step_dims: tuple[tuple[int, int], ...] = ((384, 128), (1024, 512), (1536, 512))
    models: tuple[str, ...] | None = None
    model_tiles: int = 10_000
    slides: int = 30
    slide_tiles: int = 4_000
    slide_dim: int = 1024
    folds: int = 5
    seeds: int = 5
    cell_bags: int = 40
    cell_epochs: int = 2
    curve_tiles: tuple[int, ...] = (10_000, 30_000, 100_000, 300_000, 1_000_000)
    device: str = "cpu"


DEFAULT = Scale()
QUICK = Scale(
    seconds=0.5,
    step_tiles=(1_000, 10_000),
    step_dims=((384, 128), (1024, 512)),
    model_tiles=2_000,
    slides=10,
    slide_tiles=2_000,
    folds=3,
    seeds=3,
    cell_bags=30,
    cell_epochs=2,
    curve_tiles=(10_000, 30_000, 100_000),
)
"""A minute: what the guard against regressions measures."""


@dataclass(frozen=True)
class Row:
    """A measured value: `part` is its table, `case` the line and `measure` the column.

    `better` says which way is better, "lower" or "higher". `tolerance` makes it a ratio that later runs are compared
    with: it has got worse where it is that share worse, .25 being a quarter; None for a number of this machine alone.
    Without a value (None) the `note` says why.
    """

    part: str
    case: str
    measure: str
    value: float | None
    unit: str = ""
    better: str = LOWER
    tolerance: float | None = None
    note: str = ""

    @property
    def name(self) -> str:
        """What identifies the row in another run."""
        return f"{self.part} | {self.case} | {self.measure}"

    def worse_by(self, other: "Row") -> float:
        """By which share this row is worse than `other`, of the same name: 1 is twice the time, -.5 half of it."""
        if not self.value or not other.value:
            return 0.0
        ratio = self.value / other.value
        return (ratio if self.better == LOWER else 1 / ratio) - 1


def write_rows(path: str | Path, rows: Iterable[Row], *, machine: dict[str, object]) -> None:
    """Write rows and the facts of the machine that they are of as JSON, atomically."""
    write_json(path, {"machine": machine, "rows": [asdict(row) for row in rows]})


def read_rows(path: str | Path) -> tuple[list[Row], dict[str, object]]:
    """The rows and the machine of a file of `write_rows`.

    Raises:
        ConfigError: there is no such file, or it is no file of rows.
    """
    fix = "write one with `asmil bench --out FILE` or `--baseline FILE`"
    try:
        known = json.loads(Path(path).read_text(encoding="utf-8"))
        return [Row(**row) for row in known["rows"]], dict(known["machine"])
    except FileNotFoundError as error:
        raise ConfigError("there is no such file of benchmarks", found=path, fix=fix) from error
    except (ValueError, TypeError, KeyError) as error:
        what = f"not a file of benchmarks: it needs `machine` and `rows` of {[f.name for f in fields(Row)]}"
        raise ConfigError(what, found=f"{path}: {error!r}", fix=fix) from error


def by_name(rows: Sequence[Row]) -> dict[str, Row]:
    """Rows by what identifies them."""
    return {row.name: row for row in rows}
