"""The whole line on synthetic slides that are drawn first: needs no data, no weights and no network."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from asmil.cli.parts.told import remember, screen, wrote
from asmil.errors import as_typed
from asmil.shown import fixed

if TYPE_CHECKING:
    from asmil.runs import Run

SIZE_PX = (1600, 1200)  # of a slide: large enough to have tissue, glands and tumour, small enough for two minutes


def demo(
    out: Path = typer.Option(Path("runs/demo"), help="Run folder; the slides go to its `cohort` folder."),
    patients: int = typer.Option(24, min=6, help="Patients to draw, half of them with tumour."),
    seed: int = typer.Option(0, help="Seed of the drawing."),
) -> None:
    """Draw a cohort of two sites with small tumours, then do what `asmil run` does; say what to look at."""
    from asmil import runs
    from asmil.settings import Settings, require_writable
    from asmil.slides import make_slides

    require_writable(out)
    cohort, hear = out / "cohort", screen()
    if not (cohort / "labels.csv").exists():  # written last
        hear.note(f"drawing {patients} patients into {cohort}")
        make_slides(
            cohort,
            patients=patients,
            slides_per_patient=(1, 3),
            seed=seed,
            size_px=SIZE_PX,
            sites=("north", "south"),
            lesions=(1, 2),
            lesion_size=0.27,
        )
    config = Settings(
        slides=cohort / "slides",
        labels=cohort / "labels.csv",
        annotations=cohort / "annotations",
        positive=["tumour"],
        min_coverage=0.15,
        out=out,
        tile_px=96,
        folds=3,
        seeds=3,  # which side by side take hardly longer than one, and of which one alone may find nothing
        epochs=30,
    )
    made = runs.run(config, listener=hear)  # the awkward slides are meant to fail: no exit code of theirs
    remember(made.outcome, metrics=made.headline)
    wrote("report", made.report_file, shown="\n".join(closing_lines(made)))


def closing_lines(run: "Run") -> list[str]:
    """What was planted, what came out, and what to open next: the surest wrong slide, as the report has it."""
    from asmil.report import wrong_slides

    attention, auroc, wrong = run.metrics["attention"], run.metrics["test"]["auroc"], wrong_slides(run)
    value, low, high = (fixed(number) for number in (auroc["value"], *auroc["ci95"]))
    found = f"tile AP {attention['tile_ap']:.2f} in the slides with tumour, {attention['tile_ap_chance']:.2f} by chance"
    said, choose = "", ""
    if len(wrong):
        first = wrong.iloc[0]
        said, choose = (
            f"; decided most surely: {first.slide} ({first.wrong})",
            f"   and choose {first.slide} from the list",
        )
    return [
        "",
        "planted:   three awkward slides: asmil tells what it cannot use, and goes on with the others",
        f"AUROC:     {value} ({low} - {high}), every slide by models that never saw its patient",
        f"attention: {found}",
        f"wrong:     {len(wrong)} of {len(run.predictions)} slides, at thresholds from few validation slides{said}",
        f"open:      {run.report_file}",
        f"then:      {as_typed('asmil', 'view', run.folder)}{choose}",
    ]
