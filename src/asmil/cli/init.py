"""A YAML file of all settings to fill in: each with its sentence, type, unit and default."""

from pathlib import Path

import typer

from asmil.errors import as_typed


def init(path: Path = typer.Argument(Path("asmil.yaml"), help="File to write; never one that is there.")) -> None:
    """Write every setting of a run as a commented line; `asmil run FILE` and `asmil crossval FILE` read it."""
    from asmil.errors import ConfigError
    from asmil.files import write_text
    from asmil.settings import commented_settings

    if path.exists() or path.is_symlink():
        raise ConfigError(f"{path} is there already", fix="asmil init OTHER.yaml, or move it away")
    write_text(path, commented_settings())
    typer.echo(f"settings: {path}; next: {as_typed('asmil', 'run', path)}")
