"""How many cores this process may use."""

import os


def cores() -> int:
    """Cores this process may use: what a scheduler allows, which on a shared machine is less than it has."""
    affinity = getattr(os, "sched_getaffinity", None)
    return max(1, len(affinity(0)) if affinity else os.cpu_count() or 1)
