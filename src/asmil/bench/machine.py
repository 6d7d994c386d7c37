"""What the machine itself reaches: its products, its copies, and the memory that is free."""

import os
import platform
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch

from asmil.bags import available_memory
from asmil.bench.timing import best_seconds, clock
from asmil.machine import cores


@dataclass(frozen=True)
class Machine:
    """Limits of a device as measured: `flops` a second in fp32 products, `copy` in bytes a second read and written."""

    device: str
    flops: float
    copy: float

    def seconds(self, flops: float, *, moved: float) -> float:
        """The least time for so many operations and so many bytes to be moved, whichever takes longer."""
        return max(flops / self.flops, moved / self.copy)


@cache
def measure_machine(device: str = "cpu", *, side: int = 2048, seconds: float = 0.5) -> Machine:
    """Multiply square matrices of `side`, and copy a buffer that hardly a cache holds into another, both used before.

    It is measured once in a process.
    """
    left, right, product = (torch.ones(side, side, device=device) for _ in range(3))
    source, target = (torch.ones(8 * side * side, device=device) for _ in range(2))
    product_s, copy_s = best_seconds(
        [lambda: torch.mm(left, right, out=product), lambda: target.copy_(source)], seconds=seconds, device=device
    )
    return Machine(device, 2 * side**3 / product_s, 2 * source.nbytes / copy_s)


def machine_facts(machine: Machine) -> dict[str, object]:
    """What a reader of the numbers has to know."""
    cuda = torch.device(machine.device).type == "cuda"
    return {
        "device": torch.cuda.get_device_name(machine.device) if cuda else _processor(),
        "kind": torch.device(machine.device).type,
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "clock": "events" if cuda else clock(),
        "gflops": round(machine.flops / 1e9, 1),
        "copy_gb_s": round(machine.copy / 1e9, 1),
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "asmil": version("asmil"),
    }


def free_bytes(device: str = "cpu") -> int:
    """Memory of the device that can still be had."""
    cuda = torch.device(device).type == "cuda"
    return torch.cuda.mem_get_info(device)[0] if cuda else available_memory()


def _processor() -> str:
    table = Path("/proc/cpuinfo")
    lines = table.read_text(encoding="utf-8").splitlines() if table.exists() else []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or os.uname().machine)
