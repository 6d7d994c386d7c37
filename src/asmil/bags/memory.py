"""How much memory this process may still use: what the system has left, or what a job's limit allows."""

import os
from collections.abc import Iterator
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_V2 = ("memory.max", "memory.current", "inactive_file")
_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def available_memory() -> int:
    """Bytes that can be used without swapping.

    Containers and schedulers (SLURM) limit a job by control groups, which the system's own numbers do not know.
    """
    return min([_of_system(), *_of_groups(Path("/proc/self/cgroup"), _GROUPS)])


def _of_system() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):  # not Linux: half of what is built in
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _of_groups(own: Path, root: Path) -> Iterator[int]:
    """What is left in this process's control group and in those around it, where they have a limit."""
    try:
        memberships = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:
        return
    for _, controllers, path in memberships:
        top, names = (root / "memory", _V1) if "memory" in controllers.split(",") else (root, _V2)
        if controllers and names is _V2:
            continue
        group = top / path.strip("/")
        for folder in (group, *group.parents):
            if not folder.is_relative_to(top):
                break
            yield from _left(folder, names)


def _left(folder: Path, names: tuple[str, str, str]) -> Iterator[int]:
    limit, used, cached = names
    try:
        most, now = int((folder / limit).read_text()), int((folder / used).read_text())
        facts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        yield max(0, most - now + int(facts[cached]))  # cached files make room when memory is asked for
    except (OSError, ValueError, KeyError):  # no such group, or "max": no limit
        return
