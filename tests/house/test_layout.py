"""The house rules that can be read off the source: sizes, names, docstrings, imports, paths."""

import ast
import importlib
import re
import subprocess
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "asmil"
MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_POSITIONAL = 400, 60, 3
MIN_FILE_LINES, MAX_ROOM_FILES, MAX_FILES = 40, 12, 308
MAX_ANY, MAX_PRIVATE_NAMES_IN_TESTS = 56, 60
SHORT_FILES = {
    "src/asmil/attention/dropping.py": "a step of the paper, which is read beside the others",
}
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}
# Imports go upward only: a room imports from its own line and the lines before it.
ROOMS = (
    {"errors", "registry", "units", "files", "draws", "machine", "shown"},
    {"progress"},
    {"slides"},
    {"tiles"},
    {"annotations"},
    {"encoders"},
    {"extraction"},
    {"tasks"},
    {"attention"},
    {"bags"},
    {"models"},
    {"training"},
    {"settings"},
    {"runs"},
    {"evaluation"},
    {"figures"},
    {"report"},
    {"study"},
    {"viewer"},
    {"deploy"},
    {"testing"},
    {"bench"},
    {"cli"},
)
RANK = {room: rank for rank, rooms in enumerate(ROOMS) for room in rooms}
ROOF = SOURCE / "runs" / "pipeline.py"  # the whole line: it alone calls the rooms above it, inside its functions
ATTENTION_MAY_IMPORT = {"attention", "draws", "errors", "registry"}

MODULES = sorted(SOURCE.rglob("*.py"))
TESTS = sorted(file for folder in ("tests", "benchmarks", "fuzz") for file in (ROOT / folder).rglob("*.py"))

Rule = Callable[[Path], None]


def _name(file: Path) -> str:
    return str(file.relative_to(ROOT))


def _each_of(paths: Iterable[Path]) -> Callable[[Rule], Callable[[], None]]:
    """Hold every path against a rule in one test, which names all that break it: a test per path is thousands."""

    def of(rule: Rule) -> Callable[[], None]:
        def test() -> None:
            broken = []
            for path in paths:
                try:
                    rule(path)
                except AssertionError as error:
                    broken.append(f"{_name(path)}: {error}")
            if broken:
                pytest.fail("\n".join(broken), pytrace=False)

        test.__name__, test.__doc__ = rule.__name__, rule.__doc__
        return test

    return of


every_module, every_file = _each_of(MODULES), _each_of(MODULES + TESTS)


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


@cache
def _nodes(file: Path) -> list[ast.AST]:
    return list(ast.walk(_tree(file)))


@cache
def _functions(file: Path) -> list[tuple[ast.FunctionDef | ast.AsyncFunctionDef, bool]]:
    """Every function of a file, and whether it is a method with a first parameter of its own."""
    found = []
    for parent in _nodes(file):
        for node in ast.iter_child_nodes(parent):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                static = any(getattr(d, "id", "") == "staticmethod" for d in node.decorator_list)
                found.append((node, isinstance(parent, ast.ClassDef) and not static))
    return found


@cache
def _imports(file: Path) -> list[tuple[int, str]]:
    """(line, dotted module) of every import that runs, also those inside functions."""
    found, hidden = [], set()
    for node in _nodes(file):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            hidden |= {id(inner) for statement in node.body for inner in ast.walk(statement)}
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = "asmil." + ".".join(file.relative_to(SOURCE).parts[: -node.level]) if node.level else ""
            module = ".".join(part for part in (base.strip("."), node.module) if part)
            found += [(node.lineno, f"{module}.{alias.name}") for alias in node.names]
    return found


def _rooms_imported(file: Path) -> list[tuple[int, str]]:
    parts = [(line, module.split(".")) for line, module in _imports(file)]
    return [(line, part[1] if len(part) > 1 else "") for line, part in parts if part[0] == "asmil"]


def _room(file: Path) -> str:
    return file.relative_to(SOURCE).parts[0].removesuffix(".py")


def test_all_that_break_a_rule_are_named():
    @_each_of([ROOT / name for name in "abc"])
    def rule(path):
        assert path.name == "b", "no b"

    with pytest.raises(pytest.fail.Exception, match=r"(?sm)^a: no b\n.*^c: no b\n"):
        rule()


@every_file
def test_a_file_is_at_most_400_lines(file):
    assert len(file.read_text(encoding="utf-8").splitlines()) <= MAX_FILE_LINES


@every_module
def test_suffixes_are_compared_without_case(file):
    """By `asmil.files.suffix_of`: a file that is found as `a.h5` is found as `A.H5`."""
    assert not re.findall(r"\.suffix(?:\.lower\(\))? (?:==|!=|in|not in) ", file.read_text(encoding="utf-8"))


@every_module
def test_what_is_told_to_be_typed_can_be_pasted(file):
    """Names and paths in commands and flags go through `asmil.errors.as_typed`, which quotes them."""
    commands = "|".join(path.stem.replace("_", "-") for path in (SOURCE / "cli").glob("[!_]*.py"))
    flags = "features|slides|labels|splits|slide-settings|slide-column|case-column|classes|accept|slide-encoder"
    told = rf"(?:asmil (?:{commands})|--(?:{flags})) [^\"]*?\{{(?!as_typed\()"
    assert not re.findall(told, file.read_text(encoding="utf-8"))


@every_module
def test_a_function_is_at_most_60_lines(file):
    long = [f"{f.name}: {f.end_lineno - f.lineno + 1} lines" for f, _ in _functions(file)]
    assert not [text for text in long if int(text.split()[-2]) > MAX_FUNCTION_LINES]


@every_module
def test_a_function_takes_at_most_three_positional_arguments(file):
    wide = []
    for function, method in _functions(file):
        if file.is_relative_to(SOURCE / "cli") and not file.name.startswith("_"):
            continue  # a command's parameters are flags, never passed by position
        inner = function.col_offset > 4 or (function.col_offset and not method)
        if inner or (function.name.startswith("_") and function.name != "__init__"):
            continue  # called from one place only, or with the arguments Python gives it
        count = len(function.args.posonlyargs) + len(function.args.args) - method
        if count > MAX_POSITIONAL:
            wide.append(f"{function.name} (line {function.lineno}): {count}")
    assert not wide


@every_file
def test_a_module_starts_with_a_one_line_summary(file):
    docstring = ast.get_docstring(_tree(file)) or ""
    first, _, rest = docstring.partition("\n")
    assert first.strip(), "no docstring"
    assert not rest or not rest.splitlines()[0].strip(), "the summary goes on in a second line"
    assert first.endswith((".", "?", "!")), "the summary is no sentence"


@every_module
def test_nothing_is_swallowed(file):
    bare = [node.lineno for node in _nodes(file) if isinstance(node, ast.ExceptHandler) and not node.type]
    assert not bare, "bare except"


@every_module
def test_input_is_not_checked_by_assert(file):
    asserts = [node.lineno for node in _nodes(file) if isinstance(node, ast.Assert)]
    assert not asserts, "python -O removes an assert: raise an AsmilError"


@every_module
def test_no_room_is_a_drawer_for_everything(file):
    assert not FORBIDDEN_NAMES & {part.removesuffix(".py").strip("_") for part in file.relative_to(SOURCE).parts}


@every_module
def test_imports_go_upward_only(file):
    room = _room(file)
    if file == SOURCE / "__init__.py":
        return  # the front door names every room, loaded when used
    assert room in RANK, f"{room} is no room: add it to ROOMS at its place in the data's order"
    unknown = [(line, other) for line, other in _rooms_imported(file) if other not in RANK]
    assert not unknown, "import from the room, not from asmil itself"
    down = [(line, other) for line, other in _rooms_imported(file) if RANK[other] > RANK[room]]
    if file == ROOF:
        at_start = {node.lineno for node in _tree(file).body}
        down = [(line, other) for line, other in down if line in at_start]
    assert not down


@every_module
def test_attention_stands_alone(file):
    if _room(file) != "attention":
        return
    assert not [(line, other) for line, other in _rooms_imported(file) if other not in ATTENTION_MAY_IMPORT]


@every_module
def test_only_figures_draws_with_matplotlib(file):
    if _room(file) == "figures":
        return  # this is where pictures are drawn
    assert not [line for line, module in _imports(file) if module.split(".")[0] == "matplotlib"]


@every_module
def test_public_functions_and_classes_say_what_they_do(file):
    silent = []
    for node in _tree(file).body:
        is_public = isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
        if is_public and not ast.get_docstring(node):
            silent.append(f"{node.name} (line {node.lineno})")
    assert not silent


@cache
def _registries() -> set[Path]:
    """Folders that are read for parts, a file each: those of every `FolderRegistry`, and the commands."""
    calls = (node for file in MODULES for node in _nodes(file) if isinstance(node, ast.Call))
    packages = [call.args[1] for call in calls if getattr(call.func, "id", "") == "FolderRegistry"]
    named = [package.value.split(".")[1:] for package in packages if isinstance(package, ast.Constant)]
    return {SOURCE / "cli"} | {SOURCE.joinpath(*parts) for parts in named}


@every_module
def test_a_file_has_something_to_say(file):
    if file.name.startswith("__") or file.parent in _registries() or _name(file) in SHORT_FILES:
        return  # a door, a part, or named above
    assert len(file.read_text(encoding="utf-8").splitlines()) >= MIN_FILE_LINES, "put it where it is used"


def test_short_files_that_are_named_are_there_and_short():
    sizes = {name: len((ROOT / name).read_text(encoding="utf-8").splitlines()) for name in SHORT_FILES}
    assert all(size < MIN_FILE_LINES for size in sizes.values()), sizes
    assert len(SHORT_FILES) <= 3


@_each_of(sorted({file.parent for file in MODULES}))
def test_a_room_can_be_seen_at_a_glance(folder):
    if folder in _registries():
        return  # parts, a file each
    plain = [file.name for file in folder.glob("*.py") if not file.name.startswith("__")]
    assert len(plain) <= MAX_ROOM_FILES, f"{len(plain)} files: {', '.join(sorted(plain))}"


@every_module
def test_no_file_hides_behind_an_underscore(file):
    assert not file.name.startswith("_") or file.name in ("__init__.py", "__main__.py")


@every_module
def test_the_formatter_formats_everything(file):
    text = file.read_text(encoding="utf-8")
    assert not [mark for mark in ("skip", "off") if f"fmt: {mark}" in text]


def test_the_house_is_no_larger_than_it_has_to_be():
    assert len(MODULES) <= MAX_FILES
    nodes = (node for file in MODULES for node in _nodes(file))
    unknown = [node for node in nodes if "Any" in (getattr(node, "id", ""), getattr(node, "attr", ""))]
    assert len(unknown) <= MAX_ANY, "say which type it is; `object` where any will do"


@cache
def _door(room: str) -> set[str]:
    return set(getattr(importlib.import_module(f"asmil.{room}"), "__all__", ()))


def _past_the_door(file: Path) -> list[str]:
    """What a file takes of other rooms that is not offered at their doors, wherever the import stands."""
    found, rooms = [], {folder.name for folder in SOURCE.iterdir() if (folder / "__init__.py").exists()}
    nodes = _nodes(file)
    whole = {}  # rooms imported whole, by the name they have here
    for node in nodes:
        if isinstance(node, ast.Import):
            found += [f"line {node.lineno}: {alias.name}" for alias in node.names if alias.name.startswith("asmil.")]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "asmil":
            room, *inner = [*node.module.split(".")[1:], ""]
            if not room:
                whole |= {alias.asname or alias.name: alias.name for alias in node.names if alias.name in rooms}
            elif room in rooms and room != _room(file):
                beyond = [alias.name for alias in node.names if inner != [""] or alias.name not in _door(room)]
                found += [f"line {node.lineno}: {name} of {node.module}" for name in beyond]
            elif room not in rooms:
                found += [f"line {node.lineno}: {a.name}" for a in node.names if a.name.startswith("_")]
        elif isinstance(node, ast.Call) and "import_module" in ast.unparse(node.func):
            said = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
            parts = [str(name).split(".") for name in said if str(name).startswith("asmil.")]
            found += [f"line {node.lineno}: {'.'.join(p)}" for p in parts if len(p) > 2 and p[1] != _room(file)]
    for node in nodes:
        room = whole.get(getattr(node.value, "id", "")) if isinstance(node, ast.Attribute) else None
        if room and room != _room(file) and node.attr not in _door(room):
            found.append(f"line {node.lineno}: {room}.{node.attr}")
    return found


@pytest.mark.parametrize("package", ["asmil", *sorted(f"asmil.{room}" for room in RANK if (SOURCE / room).is_dir())])
def test_what_a_door_names_is_there(package):
    offered = importlib.import_module(package)
    for name in getattr(offered, "__all__", ()):
        getattr(offered, name)
    with pytest.raises(AttributeError, match=f"{package}' has no attribute 'nothing'"):
        offered.nothing  # noqa: B018


@every_module
def test_rooms_are_entered_by_their_doors(file):
    assert not _past_the_door(file), "import it from `asmil.<room>`, and offer it there"


def test_tests_know_few_private_names():
    private = [
        f"{_name(file)}: {alias.name}"
        for file in TESTS
        for node in _nodes(file)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("asmil")
        for alias in node.names
        if alias.name.startswith("_")
    ]
    assert len(private) <= MAX_PRIVATE_NAMES_IN_TESTS, private


def _tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:  # a source archive without its history: what would be tracked
        folders = (ROOT / folder for folder in ("src", "tests", "docs", "examples", "benchmarks", "findings"))
        files = [file for folder in folders for file in folder.rglob("*") if "__pycache__" not in file.parts]
    else:
        files = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [file for file in files if file.is_file() and file.suffix not in (".svs", ".png", ".h5", ".tif")]


# Spelled in pieces, so that this file does not find itself.
MACHINE_PATH = re.compile(
    r"(?<![\w.\-/])/(" + "|".join(["work", "root", "home/[a-z]", "Users/[A-Za-z]"]) + r")(?=[/\"'`\s]|$)"
)


@_each_of(_tracked())
def test_no_file_names_a_path_of_one_machine(file):
    text = file.read_bytes().decode("utf-8", errors="replace")
    lines = [number for number, line in enumerate(text.splitlines(), 1) if MACHINE_PATH.search(line)]
    assert not lines
