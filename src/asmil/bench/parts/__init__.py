"""The parts of the benchmark, one per module: `measure(scale)` yields the rows of its table as they are known."""

from asmil.registry import FolderRegistry

PARTS = FolderRegistry("part of the benchmark", "asmil.bench.parts", "measure")
