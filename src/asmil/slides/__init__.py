"""Slides: a file becomes pixels at a known scale. Names are loaded when used."""

from typing import TYPE_CHECKING

from asmil.registry import door

if TYPE_CHECKING:
    from asmil.slides.opening import (
        SLIDE_READERS,
        SLIDE_SUFFIXES,
        SlideFile,
        list_scenes,
        name_of,
        open_slide,
        reader_order,
        scan_slides,
        slide_files,
        slide_named,
    )
    from asmil.slides.reader import ContentError, DamagedSlideError, Reader, Scene, file_name, scene_name, scene_number
    from asmil.slides.readers.image import exif_orientation
    from asmil.slides.region import Level
    from asmil.slides.slide import Slide
    from asmil.slides.synthetic import draw_slide, draw_stain, make_slides, write_slide, write_sparse_slide
    from asmil.slides.tiff_tags import page_orientation, tag_mpp
else:
    __all__, __getattr__ = door(__name__)
