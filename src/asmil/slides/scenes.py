"""The name of one scene of a file of several, as a slide of its own, and the file's name in it."""

import re

_SCENE = re.compile(r"(.+)\.scene-(\d+)")


def scene_name(file: str, scene: int) -> str:
    """The slide's name for one scene of a file of several: `<file>.scene-<n>`, the file's name without its suffix."""
    return f"{file}.scene-{scene}"


def file_name(slide: str) -> str:
    """The name of the file that a slide is a scene of: what stands before `.scene-<n>`, else the name itself."""
    found = _SCENE.fullmatch(slide)
    return found[1] if found else slide


def scene_number(slide: str) -> int | None:
    """The scene in a slide's name, None where it names none."""
    found = _SCENE.fullmatch(slide)
    return int(found[2]) if found else None
