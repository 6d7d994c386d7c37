"""Slides: a file becomes pixels at a known scale."""

from asmil.slides.opening import SLIDE_READERS, open_slide
from asmil.slides.region import Level
from asmil.slides.scan import scan_slides
from asmil.slides.slide import Reader, Slide

__all__ = ["SLIDE_READERS", "Level", "Reader", "Slide", "open_slide", "scan_slides"]
