"""Pairs: two processes of every command on one output at once end in the result of one, or one of them is refused."""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks.kills import IN_PLACE, commands, differences, draw, end, make_whole, start

REFUSED = ("another process is", "is there already")
"""What a command says that does not share its output; of `tissue`, whose table may be edited, that it is there."""


def pair(folder: Path, name: str) -> list[str]:
    """Start a command twice at once, and say what is wrong with how they ended and with what they made."""
    out = folder / ("run-used" if name in IN_PLACE else f"{name}-pair")
    whole = folder / f"{name}-whole"
    if name in IN_PLACE:
        end(start(commands(folder)[name](out, 1), folder / "log0"), folder / "log0")
        shutil.copytree(out, whole, dirs_exist_ok=True)
    logs = [folder / "log1", folder / "log2"]
    ended = [end(process, log) for process, log in [(start(commands(folder)[name](out, 1), log), log) for log in logs]]
    wrong = differences(whole, out)
    wrong += [f"half-written: {path}" for path in out.rglob(".*.partial*")]
    for one in ended:
        if one.code != 0 and not any(words in one.said for words in REFUSED):
            wrong.append(f"exit code {one.code}: {one.said[-900:]}")
    if all(one.code for one in ended):
        wrong.append("neither went to its end")
    print(f"{name}: exit codes {', '.join(str(one.code) for one in ended)}; {len(wrong)} wrong", flush=True)
    return [f"{name}: {one}" for one in wrong]


def main() -> int:
    """Draw, make all once undisturbed, then in pairs; 1 where anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--command", action="append", help="Only this; repeat.")
    parser.add_argument("--folder", type=Path, help="Where to work; else a temporary folder.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        draw(folder)
        made = list(commands(folder))
        make_whole(folder, [name for name in made if name != "report"])
        wrong = [text for name in given.command or made for text in pair(folder, name)]
    print("\n".join(wrong[:20]) or "every result is that of one process, and who was refused was told why")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
