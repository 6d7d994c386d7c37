"""The pages of the documentation as they are read by their tests: fenced blocks, command lines, links, the nav."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
FRONT = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]  # read in the repository, not on the site
RECORDS = ("docs/benchmarks.md", "docs/log.md", "docs/evidence/")  # what was run once, often for hours

_FENCE = re.compile(r"^( *)```+ *([\w-]*) *(.*)$")
_TITLE = re.compile(r'title="([^"]+)"')
_NOT_RUN = re.compile(r"<!-- not run: (.+) -->")
NOT_CODE = "<!-- the blocks of this page are signatures, not code -->"


@dataclass(frozen=True)
class Block:
    """A fenced block: its first line in the page, its language, the file that it is (title), and why it is not run."""

    page: Path
    line: int
    language: str
    title: str
    text: str
    reason: str

    @property
    def place(self) -> str:
        """Where it is, as an editor opens it."""
        return f"{name(self.page)}:{self.line}"


def name(page: Path) -> str:
    """A page's path in the repository."""
    return page.relative_to(ROOT).as_posix()


def is_record(page: Path) -> bool:
    """Whether its commands are told rather than recommended."""
    return name(page).startswith(RECORDS)


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page in their order."""
    found, lines, start = [], page.read_text(encoding="utf-8").splitlines(), None
    if NOT_CODE in lines:
        return []
    for number, line in enumerate(lines):
        fence = _FENCE.match(line)
        if start is None and fence:
            start, (indent, language, info) = number, fence.groups()
            before = next((text for text in reversed(lines[:number]) if text.strip()), "")
            mark, title = _NOT_RUN.fullmatch(before.strip()), _TITLE.search(info)
        elif start is not None and line.strip() and set(line.strip()) == {"`"}:
            text = "\n".join(inner.removeprefix(indent) for inner in lines[start + 1 : number]) + "\n"
            found.append(Block(page, start + 2, language, title[1] if title else "", text, mark[1] if mark else ""))
            start = None
    return found


def commands(text: str) -> list[list[str]]:
    """The words of each command of a shell block; comments, prompts, variables and continuations are taken off.

    A `#` begins a comment only after white space, as in a shell.
    """
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    without = (re.sub(r"(^|\s)#.*$", "", line).strip().removeprefix("$ ") for line in lines)
    without = (re.sub(r"^([A-Z_]+=\S+ )+", "", line) for line in without)
    return [shlex.split(line) for line in without if line]


def asmil_commands(text: str) -> list[list[str]]:
    """Of these, the arguments of `asmil`, whatever stands before it on the line (variables, srun)."""
    found = []
    for words in commands(text):
        at = next((i for i, word in enumerate(words) if word == "asmil" or word.endswith("/bin/asmil")), None)
        if at is not None:
            found.append(words[at + 1 :])
    return found


def in_prose(page: Path) -> list[str]:
    """Command lines within sentences and tables: `asmil ...` between single backticks."""
    fenced = re.sub(r"(?ms)^ *```.*?^ *```+ *$", "", page.read_text(encoding="utf-8"))
    return re.findall(r"(?<!`)`(asmil [^`\n]+)`(?!`)", fenced)


def command_of(arguments: list[str]) -> Any:
    """The command that these arguments call, with its options.

    Raises:
        LookupError: there is none of that name.
    """
    from asmil.cli import _load, command_summaries

    if arguments[0] not in command_summaries():
        raise LookupError(f"there is no command {arguments[0]!r}")
    return _load(arguments[0])


def refused(arguments: list[str]) -> str:
    """What the command's own parser says against the arguments; nothing where it takes them. Nothing is run."""
    if not arguments or arguments[0] in ("--help", "-h", "--version"):
        return ""
    try:
        command = command_of(arguments)
        command.callback = lambda **_: None
        command.main(args=arguments[1:], prog_name=f"asmil {arguments[0]}", standalone_mode=False)
    except Exception as error:  # noqa: BLE001  typer brings the classes of its errors along, or click does
        return str(getattr(error, "message", None) or error)
    return ""


def nav(entries: list | None = None) -> list[str]:
    """The files of the nav in mkdocs.yml, relative to docs/."""
    if entries is None:
        entries = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    found: list[str] = []
    for entry in entries:
        value = next(iter(entry.values())) if isinstance(entry, dict) else entry
        found += nav(value) if isinstance(value, list) else [value]
    return found
