"""Opening slides: which reader, and which micrometres per pixel to believe; finding them in folders."""

import math
from pathlib import Path

from asmil.errors import ScaleError, SlideError
from asmil.registry import FolderRegistry
from asmil.slides.slide import Reader, Slide
from asmil.units import PLAUSIBLE_MPP, mpp_of_objective, plausible_mpp, same_mpp

SLIDE_READERS = FolderRegistry("slide reader", "asmil.slides.readers", "READER")

OBJECTIVE_FACTOR = 2.0
"""An mpp this many times off what the objective makes plausible is one of the two being wrong."""

_REMEDY = (
    "give the slide's own scale: --slide-mpp VALUE (in Python: mpp=VALUE), an `mpp` column in the label or "
    "slide table, or --objective POWER (objective=POWER; 40 means .25 um/px). --mpp is something else: the "
    "scale tiles are cut at"
)


def open_slide(
    path: str | Path, *, mpp: float | None = None, objective: float | None = None, reader: str | None = None
) -> Slide:
    """Open a slide file with the first reader that knows it: OpenSlide, any added reader, then plain images.

    Args:
        path: the file.
        mpp: micrometres per level-0 pixel; overrules the file.
        objective: nominal magnification; decides where the file has no mpp, or one that contradicts it.
        reader: name of the reader, instead of the first that knows the file.

    Raises:
        SlideError: no such file, no reader knows it, or it is damaged.
        ScaleError: the mpp is unknown, implausible, contradicts the objective, or differs between x and y.
    """
    path = Path(path)
    if not path.is_file():
        what = "a slide is a file, not a folder" if path.is_dir() else "there is no such slide file"
        raise SlideError(what, found=path, fix="give the path of one file; `scan_slides` lists those in a folder")
    if path.stat().st_size == 0:
        raise SlideError(f"{path} is empty", found="0 bytes", fix="copy or download it again")
    name = reader or _find_reader(path)
    source: Reader = SLIDE_READERS[name](path)
    try:
        value, origin = _resolve_mpp(source, path=path, mpp=mpp, objective=objective)
    except ScaleError:
        source.close()
        raise
    return Slide(path, source, reader=name, mpp=value, mpp_source=origin)


def _find_reader(path: Path) -> str:
    refusals = []
    for name in sorted(SLIDE_READERS.names(), key=lambda name: (name == "image", name != "openslide")):
        try:
            SLIDE_READERS[name].detect(path)
        except SlideError as error:
            refusals.append(f"{name}: {error.what}")
        else:
            return name
    raise SlideError(
        f"no reader can open {path}",
        found="; ".join(refusals),
        fix="is the file complete, and a slide? Other formats can be converted to pyramidal TIFF",
    )


def _resolve_mpp(source: Reader, *, path: Path, mpp: float | None, objective: float | None) -> tuple[float, str]:
    """The mpp of level 0, and where it is from."""
    if mpp is not None:
        return _given(mpp, path=path), "--slide-mpp"
    if objective is not None and not (math.isfinite(objective) and objective > 0):
        raise ScaleError("an objective is a positive magnification", found=objective)
    nominal = None if objective is None else _given(mpp_of_objective(objective), path=path)
    stated = source.file_mpp
    if stated is None or not all(plausible_mpp(value) for value in stated):
        if nominal is None:
            raise _unknown_mpp(source, path)
        return nominal, f"objective {objective:g}x"
    if not same_mpp(*stated):
        found = f"mpp {stated[0]:g} in x, {stated[1]:g} in y"
        raise ScaleError(f"the pixels of {path.name} are not square", found=found, fix=_REMEDY)
    value = sum(stated) / 2
    if nominal is not None:
        return (value, "file") if _agree(value, nominal) else (nominal, f"objective {objective:g}x")
    if source.objective and not _agree(value, mpp_of_objective(source.objective)):
        expected = mpp_of_objective(source.objective)
        raise ScaleError(
            f"the mpp of {path.name} contradicts its objective",
            found=f"mpp {value:g} but {source.objective:g}x, which is about {expected:g}",
            fix=_REMEDY,
        )
    return value, "file"


def _unknown_mpp(source: Reader, path: Path) -> ScaleError:
    found = "no mpp in the file"
    if source.file_mpp is not None:
        low, high = PLAUSIBLE_MPP
        found = f"{source.file_mpp[0]:g} um/px in the file, not within {low:g} to {high:g}"
    if source.objective:
        found += f"; the file names an objective of {source.objective:g}x"
    state = "unknown" if source.file_mpp is None else "implausible"
    return ScaleError(f"the mpp (um per pixel) of {path.name} is {state}", found=found, fix=_REMEDY)


def _agree(a: float, b: float) -> bool:
    return max(a, b) <= OBJECTIVE_FACTOR * min(a, b) * (1 + 1e-9)


def _given(mpp: float, *, path: Path) -> float:
    if not plausible_mpp(mpp):
        low, high = PLAUSIBLE_MPP
        raise ScaleError(
            f"the scale given for {path.name} cannot be that of a slide",
            found=f"{mpp:g} um/px, not within {low:g} to {high:g}",
            fix=_REMEDY,
        )
    return float(mpp)
