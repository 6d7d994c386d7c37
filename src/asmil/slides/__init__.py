"""Slides: a file becomes pixels at a known scale. Names are loaded when used."""

from typing import TYPE_CHECKING

from asmil.registry import load

if TYPE_CHECKING:
    from asmil.slides.opening import (
        SLIDE_READERS,
        SlideFile,
        list_scenes,
        open_slide,
        reader_order,
        scan_slides,
        slide_files,
        slide_named,
    )
    from asmil.slides.reader import DamagedSlideError, Reader, Scene, file_name, scene_name, scene_number
    from asmil.slides.region import Level
    from asmil.slides.slide import Slide
    from asmil.slides.synthetic import draw_slide, draw_stain, make_slides, write_slide, write_sparse_slide
    from asmil.slides.tiff_tags import tag_mpp

_HOMES = {
    "opening": (
        "SLIDE_READERS",
        "SlideFile",
        "list_scenes",
        "open_slide",
        "reader_order",
        "scan_slides",
        "slide_files",
        "slide_named",
    ),
    "reader": ("DamagedSlideError", "Reader", "Scene", "file_name", "scene_name", "scene_number"),
    "region": ("Level",),
    "slide": ("Slide",),
    "synthetic": ("draw_slide", "draw_stain", "make_slides", "write_slide", "write_sparse_slide"),
    "tiff_tags": ("tag_mpp",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> object:
    return load(__name__, _HOME_OF, name)
