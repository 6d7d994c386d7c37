"""The whole line on synthetic slides that are drawn first: needs no data, no weights and no network."""

from pathlib import Path

import typer

SIZE_PX = (1600, 1200)  # of a slide: large enough to have tissue, glands and tumour, small enough for two minutes


def demo(
    out: Path = typer.Option(Path("runs/demo"), help="Run folder; the slides go to its `cohort` folder."),
    patients: int = typer.Option(24, min=6, help="Patients to draw, half of them with tumour."),
    seed: int = typer.Option(0, help="Seed of the drawing."),
) -> None:
    """Draw a small cohort, then do what `asmil run` does; three awkward slides show how problems are told."""
    from asmil import runs
    from asmil.progress import Screen
    from asmil.settings import Settings, require_writable
    from asmil.slides import make_slides

    require_writable(out)
    cohort = out / "cohort"
    if not (cohort / "labels.csv").exists():  # written last
        typer.echo(f"drawing {patients} patients into {cohort}", err=True)
        make_slides(cohort, patients=patients, seed=seed, size_px=SIZE_PX)
    config = Settings(
        slides=cohort / "slides",
        labels=cohort / "labels.csv",
        annotations=cohort / "annotations",
        positive=["tumour"],
        out=out,
        tile_px=128,
        folds=3,
        seeds=1,
        epochs=30,
    )
    made = runs.run(config, listener=Screen())  # the awkward slides are meant to fail: no exit code of theirs
    typer.echo("\nthe three awkward slides are planted: so asmil tells what it cannot use, and goes on with the others")
    typer.echo(f"AUROC:  {made.facts().get('AUROC', 'none')}, every slide by models that never saw it")
    typer.echo(f"report: {made.report_file}")
    typer.echo(f"next:   asmil view {made.folder}")
