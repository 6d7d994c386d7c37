"""The parts by name: models, tasks, datasets, encoders of tiles and slides, metrics, readers, formats and more."""

import ast
import importlib
from enum import StrEnum
from pathlib import Path

import typer

from asmil.registry import FolderRegistry


class Kind(StrEnum):
    """The registries a user can add to."""

    models = "models"
    tasks = "tasks"
    datasets = "datasets"
    encoders = "encoders"
    slide_encoders = "slide-encoders"
    metrics = "metrics"
    readers = "readers"
    formats = "formats"
    normalizers = "normalizers"
    tissue = "tissue"


REGISTRIES = {
    Kind.models: ("asmil.models", "MODELS"),
    Kind.tasks: ("asmil.tasks", "TASKS"),
    Kind.datasets: ("asmil.bags.datasets", "DATASETS"),
    Kind.encoders: ("asmil.encoders", "ENCODERS"),
    Kind.slide_encoders: ("asmil.encoders", "SLIDE_ENCODERS"),
    Kind.readers: ("asmil.slides", "SLIDE_READERS"),
    Kind.formats: ("asmil.bags", "FEATURE_FORMATS"),
}
FUNCTIONS = {
    Kind.metrics: ("evaluation/metrics.py", "METRICS"),
    Kind.normalizers: ("attention/normalizers.py", "NORMALIZERS"),
    Kind.tissue: ("tiles/masks.py", "TISSUE_METHODS"),
}
"""Where functions register themselves: names are read off the file, as importing it takes torch or scikit-learn."""


def list(
    kind: Kind | None = typer.Argument(None, help="One kind of part only; all kinds if left out."),
) -> None:
    """List every part of this installation with one line on what it is."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    for one in [kind] if kind else Kind:
        rows: tuple[tuple[str, ...], ...]
        conflicts: dict[str, str] = {}
        if one in FUNCTIONS:
            rows = function_rows(*FUNCTIONS[one])
        else:
            package, attribute = REGISTRIES[one]
            registry = getattr(importlib.import_module(package), attribute)
            rows = OWN_ROWS[one]() if one in OWN_ROWS else registry_rows(registry)
            conflicts = registry.conflicts() if isinstance(registry, FolderRegistry) else {}
        table = Table(
            *HEADERS.get(one, ()),
            title=one.value,
            title_justify="left",
            title_style="bold",
            box=None,
            show_header=one in HEADERS,
            pad_edge=False,
        )
        for row in rows:
            table.add_row(*map(Text, row))
        for column in table.columns:
            column.overflow = "fold"  # nothing is cut, however narrow the terminal: names and sources are to be copied
        table.columns[0].no_wrap = True
        console.print(table)
        for why in conflicts.values():
            typer.echo(f"not used: {why}")
        console.print()


def encoder_rows() -> tuple[tuple[str, ...], ...]:
    """The facts of every encoder, from its card; of a package's, which would be imported, what the package says."""
    from asmil.encoders import ENCODERS, card, list_encoders

    others = ENCODERS.packaged()
    packaged = tuple((name, *[""] * 5, "", ENCODERS.summary(name)) for name in others)
    own = tuple(
        (
            facts.name,
            str(facts.dim),
            str(facts.tile_px or "any"),
            str(facts.mpp or "any"),
            facts.tokens if facts.architecture else "",
            facts.licence,
            "gated" if facts.gated else "",
            facts.checked or "not checked",
        )
        for facts in map(card, (name for name in list_encoders() if name not in others))
    )
    return own + packaged


def slide_encoder_rows() -> tuple[tuple[str, ...], ...]:
    """The facts of every slide encoder, from its card."""
    from asmil.encoders import list_slide_encoders, slide_card

    return tuple(
        (
            facts.name,
            str(facts.dim),
            facts.tile_encoder,
            str(facts.tile_px),
            f"{facts.mpp:g}",
            facts.memory or "not known",
            facts.licence,
            "gated" if facts.gated else "",
            facts.repository or "",
            facts.checked or "not checked",
        )
        for facts in map(slide_card, list_slide_encoders())
    )


def model_rows() -> tuple[tuple[str, str, str], ...]:
    """Name, first line and what a stabiliser aligns, of every model."""
    from asmil.models import MODELS, list_models, model_info

    others = MODELS.packaged()
    infos = [model_info(name) for name in list_models() if name not in others]
    own = tuple((info.name, info.description, info.aligned or "nothing") for info in infos)
    return own + tuple((name, MODELS.summary(name), "its code says; it is not imported here") for name in others)


OWN_ROWS = {Kind.models: model_rows, Kind.encoders: encoder_rows, Kind.slide_encoders: slide_encoder_rows}
HEADERS: dict[Kind, tuple[str, ...]] = {
    Kind.models: ("name", "what it is", "what a stabiliser aligns"),
    Kind.encoders: ("name", "values", "px", "um/px", "tokens", "licence", "", "checked"),
    Kind.slide_encoders: (
        "name",
        "values",
        "tile encoder",
        "px",
        "um/px",
        "20,000 tiles",
        "licence",
        "",
        "weights",
        "checked",
    ),
}


def registry_rows(registry: FolderRegistry) -> tuple[tuple[str, str], ...]:
    """Name and first docstring line of every part of a registry; a folder's parts are not imported."""
    return tuple((name, registry.summary(name)) for name in registry.names())


def function_rows(file: str, registry: str) -> tuple[tuple[str, str], ...]:
    """Name and first docstring line of every function of a file that a registry's decorator takes."""
    body = ast.parse((Path(__file__).parents[1] / file).read_text(encoding="utf-8")).body
    taken = [
        node
        for node in body
        if isinstance(node, ast.FunctionDef)
        and any(ast.unparse(decorator) == f"{registry}.register" for decorator in node.decorator_list)
    ]
    lines = {node.name: (ast.get_docstring(node) or "").partition("\n")[0] for node in taken}
    return tuple(sorted(lines.items()))
