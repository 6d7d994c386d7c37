"""What is drawn on a slide, in files of any program: areas and points by class. Names are loaded when used."""

from typing import TYPE_CHECKING

from asmil.errors import AnnotationError
from asmil.registry import load

if TYPE_CHECKING:
    from asmil.annotations.label_image import MaskLabels
    from asmil.annotations.reading import Annotations, bounds_of, find_annotation, read_annotations, require_classes

_HOMES = {
    "label_image": ("MaskLabels",),
    "reading": ("Annotations", "bounds_of", "find_annotation", "read_annotations", "require_classes"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted([*_HOME_OF, "AnnotationError"])


def __getattr__(name: str) -> object:
    return load(__name__, _HOME_OF, name)
