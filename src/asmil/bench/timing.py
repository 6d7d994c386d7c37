"""What is timed: a step's time, memory and operations, and what the machine itself reaches."""

import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from itertools import accumulate
from pathlib import Path

import torch
from torch._ops import OpOverload
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from asmil.bags import available_memory
from asmil.machine import cores

Step = Callable[[], object]


def clock() -> str:
    """What time is taken by on a CPU: "cpu" where torch has a single thread, else "wall".

    Time of the CPU is that of this process alone, so that others on a shared machine do not lengthen it. With several
    threads it would count those that wait for each other.
    """
    return "cpu" if torch.get_num_threads() == 1 else "wall"


def seconds_of(step: Step, *, device: str = "cpu", wall: bool = False) -> float:
    """How long one call takes: by the device's own events on CUDA, by `clock` on a CPU unless `wall`."""
    if torch.device(device).type != "cuda":
        now = time.process_time if clock() == "cpu" and not wall else time.perf_counter
        start = now()
        step()
        return now() - start
    before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize(device)
    before.record()
    step()
    after.record()
    after.synchronize()
    return before.elapsed_time(after) / 1e3


def best_seconds(
    steps: Sequence[Step], *, seconds: float, device: str = "cpu", first: Sequence[float] = ()
) -> list[float]:
    """The fastest call of each step, all in turns: what disturbs a shared machine then disturbs all alike.

    Each step runs once at least, and again until it has had `seconds` in total. `first` are seconds of a call of each
    made before: they count, and a step that took more than four times `seconds` is not called again.
    """
    best, spent = list(first) or [float("inf")] * len(steps), [0.0] * len(steps)
    turns = [index for index, taken in enumerate(best) if not first or taken <= 4 * seconds]
    while turns:
        for index in turns:
            taken = seconds_of(steps[index], device=device)
            best[index], spent[index] = min(best[index], taken), spent[index] + taken
        turns = [index for index in turns if spent[index] < seconds]
    return best


def first_call(step: Step, *, device: str = "cpu") -> tuple[float, int]:
    """Seconds and peak bytes of one call: the most memory that it held at a time beside what was there before.

    On a CPU every block that torch allocates is counted as it comes and goes, so the peak is exact, the same every
    time, and free of what the process did before (which the resident size never is); what libraries allocate for
    themselves is not seen. On CUDA it is the allocator's own peak. What the call keeps (moments of an optimiser,
    workspaces) counts.
    """
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        taken = seconds_of(step, device=device)
        return taken, torch.cuda.max_memory_allocated(device) - before
    with _quiet(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        taken = seconds_of(step)
    events = recorded.profiler.kineto_results.events()  # type: ignore[union-attr]
    blocks = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    return taken, max(accumulate(size for _, size in blocks), default=0)


def flops_of(step: Step) -> int:
    """Floating point operations of the matrix products and convolutions of one call, the same every time.

    Attention is computed by its products meanwhile: torch has no formula for some of its fused forms.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), _Operations() as counted:
            step()
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return counted.total


class _Operations(TorchDispatchMode):
    """Adds up what torch's formulas say; its own counter follows modules too, which custom gradients upset."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(
        self, func: OpOverload, types: object, args: tuple = (), kwargs: dict[str, object] | None = None
    ) -> object:
        result, packet = func(*args, **(kwargs or {})), func.overloadpacket
        formula = flop_registry.get(_IN_PLACE.get(packet, packet))
        if formula:
            self.total += formula(*args, **(kwargs or {}), out_val=result)
        return result


_IN_PLACE = {torch.ops.aten.addmm_: torch.ops.aten.addmm, torch.ops.aten.baddbmm_: torch.ops.aten.baddbmm}
"""Products that torch has no formula for, and those with the same."""


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing on the process's standard error: torch's profiler writes lines of its own there, of no use to anyone."""
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


# What the machine itself reaches: its products, its copies, and the memory that is free.


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
