"""Measure this machine and the training on it, in ratios; say what got worse since an earlier run."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from asmil.bench import Row


def bench(
    quick: bool = typer.Option(False, "--quick", help="Smaller sizes, about a minute."),
    only: list[str] | None = typer.Option(
        None, help="This part only: step, models, cohort, loading, cells or curve; repeat for several."
    ),
    device: str = typer.Option("auto", help="auto (CUDA where there is one), cpu, cuda or cuda:1."),
    out: Path | None = typer.Option(None, help="JSON file for all numbers; the curve of cost is drawn beside it."),
    against: Path | None = typer.Option(
        None, help="File of an earlier --out or --baseline: say what got worse, and fail where something did."
    ),
    markdown: bool = typer.Option(False, "--markdown", help="Print the tables as Markdown, to paste elsewhere."),
    baseline: Path | None = typer.Option(None, help="JSON file for the ratios alone, to compare later runs with."),
) -> None:
    """Measure time and memory of the training on this machine: a table per part, five minutes on two cores."""
    from dataclasses import replace

    from rich.console import Console

    from asmil import bench as room
    from asmil.cli import ExitCode

    if against:
        room.read_rows(against)  # a wrong file is told before the minutes, not after
    scale = replace(room.QUICK if quick else room.DEFAULT, device=_device(device))
    machine = room.measure_machine(scale.device)
    facts, console = room.machine_facts(machine), Console(highlight=False)
    console.print(_about(facts), soft_wrap=True)
    rows: dict[str, list[Row]] = {}
    with Console(stderr=True).status("", spinner="line") as status:  # nothing where this is no terminal
        for name, found in room.run_parts(scale, only=only or (), tell=status.update):
            rows[name] = found
            room.print_rows(name, found, console=console, as_markdown=markdown)
        changes = room.check_against(against, rows, machine=facts, scale=scale, tell=status.update) if against else []
    if against:
        room.print_changes(changes, console=console)
    everything = [row for found in rows.values() for row in found]
    if out:
        room.write_rows(out, everything, machine=facts)
        room.write_curve(out.with_suffix(""), everything)
    if baseline:
        room.keep_ratios(baseline, everything, machine=facts)
    worse = any(change.verdict in ("worse", "failed") for change in changes)
    raise typer.Exit(ExitCode.SET_ASIDE if worse else ExitCode.WHOLE)


def _device(wanted: str) -> str:
    """The device to measure: CUDA or the CPU."""
    from asmil.errors import ConfigError
    from asmil.settings import device_of, load_settings

    device = device_of(load_settings(None, {"device": wanted}).device)
    if device == "mps" and wanted == "auto":
        return "cpu"
    if device == "mps":
        raise ConfigError("there is no benchmark on mps", fix="--device cpu")
    return device


def _about(facts: dict[str, object]) -> str:
    """The machine in a line, with what it was measured to reach."""
    limits = f"{facts['gflops']} GFLOP/s in fp32 products, copies of {facts['copy_gb_s']} GB/s"
    used = f"{facts['threads']} of {facts['cores']} cores, time by {facts['clock']}, torch {facts['torch']}"
    return f"{facts['device']}, {used}: {limits}\n"
