"""ASAP XML: the annotations that CAMELYON and many pathology labs write."""

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np

from asmil.errors import AnnotationError
from asmil.evaluation._drawing import UNCLASSIFIED

_KINDS = {
    "polygon": "polygon",
    "rectangle": "polygon",
    "spline": "polygon",
    "dot": "points",
    "pointset": "points",
}


def asap_shapes(content: bytes, path: Path) -> Iterator[tuple[str, str, np.ndarray]]:
    """Class, kind ("group" | "polygon" | "points") and level-0 coordinates (points, 2) of each annotation.

    The class is the annotation's group, "Tumor: Necrosis" for a group within another; groups come first, so that a
    group with nothing in it is still known. A spline is read as the polygon of its control points.

    Raises:
        AnnotationError: not XML, a document type declaration (entities could be made to grow without
            bound), not written by ASAP, or an unknown type of annotation.
    """
    root = _parse(content, path)
    if root.tag != "ASAP_Annotations":
        raise AnnotationError(f"{path} was not written by ASAP", found=f"root element <{root.tag}>")
    names = _full_names(root)
    for name in names.values():
        yield name, "group", np.empty((0, 2))
    for annotation in root.iterfind("Annotations/Annotation"):
        label, kind = annotation.get("Name", "?"), annotation.get("Type", "")
        if kind.lower() not in _KINDS:
            raise AnnotationError(f"annotation {label!r} of {path} is of an unknown type", found=repr(kind))
        group_name = annotation.get("PartOfGroup", "None")
        try:
            corners = sorted(annotation.iterfind("Coordinates/Coordinate"), key=lambda c: float(c.get("Order", 0)))
            xy = np.array([[float(c.attrib["X"]), float(c.attrib["Y"])] for c in corners]).reshape(-1, 2)
        except (KeyError, ValueError) as error:
            raise AnnotationError(f"annotation {label!r} of {path} has unreadable coordinates", found=error) from error
        name = UNCLASSIFIED if group_name == "None" else names.get(group_name, group_name)
        yield name, _KINDS[kind.lower()], xy


def _full_names(root: ElementTree.Element) -> dict[str, str]:
    """Groups by name, with the groups they are in before them."""
    parents = {
        group.get("Name", ""): group.get("PartOfGroup", "None") for group in root.iterfind("AnnotationGroups/Group")
    }
    full = {}
    for name in parents:
        line = [name]
        while (parent := parents[line[0]]) in parents and parent not in line:
            line.insert(0, parent)
        full[name] = ": ".join(line)
    return full


def _parse(content: bytes, path: Path) -> ElementTree.Element:
    def refuse(*_) -> None:
        raise AnnotationError(
            f"{path} declares a document type, which no annotation needs and which can exhaust memory",
            fix="remove the DOCTYPE from the file if you trust it",
        )

    guard = expat.ParserCreate()
    guard.StartDoctypeDeclHandler = refuse
    try:
        guard.Parse(content, True)
        return ElementTree.fromstring(content)
    except (expat.ExpatError, ElementTree.ParseError, LookupError, ValueError) as error:
        raise AnnotationError(f"{path} is not valid XML", found=error) from error
