"""A run's models as an ONNX file for any number of tiles, and a card that says what they are."""

from pathlib import Path

import typer

from asmil.cli.parts import PARTIAL
from asmil.cli.parts.told import screen, wrote


def export(
    run: Path = typer.Argument(help="Run folder."),
    out: Path = typer.Option(
        None, help="File to write; <name>.json and <name>_card.md lie beside it. [RUN/model.onnx]", show_default=False
    ),
    fold: int = typer.Option(None, help="Only the models of this fold; without it, and --seed, the mean of all."),
    seed: int = typer.Option(None, help="Only the models of this seed."),
    card: bool = typer.Option(False, "--card", help="Only the card: card.md and card.json, in the run unless --out."),
    run_features: Path = typer.Option(None, help="Features that the run was trained on, where they were moved."),
    partial: bool = PARTIAL,
) -> None:
    """Write an ONNX file (Standardise included, no anchor) that agrees with torch, or none; and the model's card."""
    from asmil import runs
    from asmil.cli import exit_with

    made, hear = runs.Run.open(run), screen()
    found = runs.export(
        made, out, fold=fold, seed=seed, card=card, run_features=run_features, partial=partial, listener=hear
    )
    if found.onnx:
        worst = max(found.differences, key=lambda tiles: found.differences[tiles])
        difference, compared = f"{found.differences[worst]:.1e}", ", ".join(map(str, found.differences))
        models = f"{found.members} model{'s' * (found.members > 1)}"
        head = f"{found.onnx}: {models}; largest difference from torch {difference}"
        wrote("onnx", found.onnx, shown=f"{head}, on {worst} tiles (compared on {compared})")
    for path in found.card:
        wrote("card", path)
    exit_with(made.outcome)
