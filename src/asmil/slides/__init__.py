"""Slides: a file becomes pixels at a known scale."""

from asmil.slides.opening import SLIDE_READERS, list_scenes, open_slide, reader_order
from asmil.slides.reader import DamagedSlideError, Reader, Scene
from asmil.slides.region import Level
from asmil.slides.scan import SlideFile, scan_slides, slide_files, slide_named
from asmil.slides.slide import Slide

__all__ = [
    "SLIDE_READERS",
    "DamagedSlideError",
    "Level",
    "Reader",
    "Scene",
    "Slide",
    "SlideFile",
    "list_scenes",
    "open_slide",
    "reader_order",
    "scan_slides",
    "slide_files",
    "slide_named",
]
