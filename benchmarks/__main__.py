"""List the benchmarks, or run those named (`python -m benchmarks algorithmic`; `all` runs every one)."""

import ast
import pkgutil
import runpy
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Every benchmark: a file of this folder without a leading underscore."""
    return sorted(m.name for m in pkgutil.iter_modules([str(FOLDER)]) if not m.name.startswith("_"))


def summary(name: str) -> str:
    """The first line of a benchmark's docstring."""
    docstring = ast.get_docstring(ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8")))
    return (docstring or "").split("\n")[0]


def main(wanted: list[str]) -> int:
    """Run the wanted benchmarks one after another, or list all; 2 when one is unknown."""
    if not wanted:
        for name in names():
            print(f"{name:20} {summary(name)}")
        return 0
    wanted = names() if wanted == ["all"] else wanted
    for name in wanted:
        if name not in names():
            print(f"no benchmark {name!r}; there are: {', '.join(names())}", file=sys.stderr)
            return 2
    for name in wanted:
        print(f"== {name}: {summary(name)}", flush=True)
        runpy.run_module(f"benchmarks.{name}", run_name="__main__")
    return 0


if __name__ == "__main__":
    arguments, sys.argv = sys.argv[1:], sys.argv[:1]
    sys.exit(main(arguments))
