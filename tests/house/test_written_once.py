"""Names of files and folders stand once: in the room that writes them."""

import ast
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "asmil"
HOMES = ("progress/outcome.py", "extraction/ledger.py", "runs/layout.py", "study/arms.py", "deploy/use.py")
"""Where names of files and folders are module-level names in capitals."""
ELSEWHERE = {
    ("files.py", "config.yaml"): "runs among slides and features are known below the room that writes them",
    ("files.py", "environment.json"): "the same",
    ("slides/opening.py", "failures.csv"): "and what was extracted",
    ("slides/opening.py", "state.csv"): "the same",
    **{
        ("bags/reading/source.py", name): "of runs, models and predictions only features are read; as above"
        for name in (
            "sealed.json",
            "model.safetensors",
            "attention.h5",
            "predictions.csv",
        )
    },
    ("encoders/cards.py", "model.safetensors"): "what hubs call a file of weights",
}


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _text(node: ast.AST) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _names(file: Path) -> list[str]:
    """The texts that module-level names in capitals are, of files with a suffix, and of folders."""
    found = []
    for node in _tree(file).body:
        if isinstance(node, ast.Assign) and all(
            name.id.isupper() for name in ast.walk(node.targets[0]) if isinstance(name, ast.Name)
        ):
            values = node.value.elts if isinstance(node.targets[0], ast.Tuple) else [node.value]
            found += [_text(value) for value in values if _text(value).replace(".", "").replace("_", "").isalnum()]
    return found


def _written(file: Path) -> Counter[str]:
    """Whole texts that can only be the name of a file, for its dot, and parts of a path behind a slash."""
    nodes = list(ast.walk(_tree(file)))
    parts = (_text(node.right) for node in nodes if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div))
    return Counter([*filter(lambda text: "." in text, map(_text, nodes)), *(part for part in parts if "." not in part)])


HOME_OF = {name: home for home in HOMES for name in _names(SOURCE / home)}


def test_the_names_are_found():
    assert {"failures.csv", "state.csv", "model.onnx", "study.json", ".making", "features", "tissue"} <= HOME_OF.keys()


def test_a_name_has_one_home():
    counts = Counter(name for home in HOMES for name in _names(SOURCE / home))
    assert not [name for name, count in counts.items() if count > 1]


@pytest.mark.parametrize("file", sorted(SOURCE.rglob("*.py")), ids=lambda file: str(file.relative_to(SOURCE)))
def test_a_name_of_a_file_or_folder_stands_in_its_home_alone(file):
    here = str(file.relative_to(SOURCE))
    again = [
        name
        for name, count in _written(file).items()
        if name in HOME_OF
        and (here, name) not in ELSEWHERE
        and count > (HOME_OF[name] == here and "." in name)  # where it is named
    ]
    assert not again, f"take it from {HOME_OF[again[0]]}, by the door of its room"


def test_what_stands_elsewhere_is_there():
    assert not [(file, name) for file, name in ELSEWHERE if not _written(SOURCE / file)[name]]
