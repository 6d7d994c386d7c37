"""A run's models as an ONNX file for any number of tiles, and a card that says what they are."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from asmil.deploy import Ensemble


def export(
    run: Path = typer.Argument(help="Run folder."),
    out: Path = typer.Option(None, help="File to write, model.onnx; <name>.json and <name>_card.md lie beside it."),
    fold: int = typer.Option(None, help="Only the models of this fold; without it, and --seed, the mean of all."),
    seed: int = typer.Option(None, help="Only the models of this seed."),
    card: bool = typer.Option(False, "--card", help="Only the card: card.md and card.json, in the run unless --out."),
    run_features: Path = typer.Option(None, help="Features that the run was trained on, where they were moved."),
) -> None:
    """Write an ONNX file (Standardise included, no anchor) that agrees with torch, or none; and the model's card."""
    from asmil.cli._progress import progress
    from asmil.deploy import load_ensemble, write_card
    from asmil.errors import ConfigError

    if not card and (out is None or out.suffix != ".onnx"):
        raise ConfigError(
            "export needs a file to write", found=out, fix="--out model.onnx, or --card for the card alone"
        )
    ensemble = load_ensemble(run)
    if ensemble.task is not None:
        raise ConfigError(
            "only classifiers are exported", found=f"a run of {ensemble.task.name}", fix="asmil predict takes such runs"
        )
    if ensemble.profile is None:
        with progress("measure the run's slides", total=len(ensemble.slides)) as advance:
            ensemble.prepare(run_features, progress=advance)
    if not card:
        _export(ensemble, out, fold=fold, seed=seed)
        out = out.with_name(f"{out.stem}_card.md")
    for path in write_card(ensemble, out or ensemble.run.card_file):
        typer.echo(f"card: {path}")


def _export(ensemble: "Ensemble", out: Path, *, fold: int | None, seed: int | None) -> None:
    from asmil.deploy import export_onnx
    from asmil.errors import ConfigError

    members = [m for m in ensemble.members if fold in (None, m.fold) and seed in (None, m.seed)]
    if not members:
        known = ", ".join(member.name for member in ensemble.members)
        raise ConfigError("the run has no such model", found=f"fold {fold}, seed {seed}", fix=f"one of {known}")
    made = export_onnx(
        [member.model for member in members],
        out,
        in_dim=ensemble.preprocessing.values["dim"][0],
        name=ensemble.run.settings.model,
        facts=_facts(ensemble) | {"members": [member.name for member in members]},
    )
    worst = max(made.differences, key=lambda tiles: made.differences[tiles])
    typer.echo(
        f"{out}: {len(members)} models; largest difference from torch {made.differences[worst]:.1e}, on {worst} tiles "
        f"(compared on {', '.join(map(str, made.differences))})"
    )


def _facts(ensemble: "Ensemble") -> dict[str, Any]:
    """What a program that uses the file has to know."""
    from importlib.metadata import version

    return {
        "asmil_version": version("asmil"),
        "model": ensemble.run.settings.model,
        "classes": list(ensemble.classes),
        "features": ensemble.preprocessing.values,
        "attention": "mean over the members and their attention rows; sums to 1 over the tiles",
        "digest_of_all_members": ensemble.digest,
    }
