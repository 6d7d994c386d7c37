"""What is drawn on a slide, in files of any program: areas and points by class. Names are loaded when used."""

from typing import TYPE_CHECKING

from asmil.registry import door

if TYPE_CHECKING:
    from asmil.annotations.drawing import class_name
    from asmil.annotations.label_image import MaskLabels
    from asmil.annotations.reading import (
        Annotations,
        bounds_of,
        find_annotation,
        read_annotations,
        require_classes,
        unused_annotations,
    )
    from asmil.errors import AnnotationError
else:
    __all__, __getattr__ = door(__name__)
