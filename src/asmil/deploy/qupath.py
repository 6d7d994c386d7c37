"""All of a run in QuPath: the tiles of every slide as objects with measurements, and one script that loads them."""

import importlib.resources
import json
from pathlib import Path

from asmil.bags import listed
from asmil.errors import RunError
from asmil.files import original_name, safe_name, write_text
from asmil.progress import Listener, default_listener
from asmil.runs import QUPATH, PredictedFolder, Run, figure_file, qupath_script
from asmil.slides import SLIDE_SUFFIXES

PLACE, NAMES, SUFFIXES = "FOLDER_OF_THE_RUN", "NAMES_OF_FILES", "SUFFIXES"
"""What the script has in the place of the folder, of names that a file cannot have, and of the suffixes of slides."""
SCORES = ".geojson"


def write_qupath(folder: str | Path, *, partial: bool = False, listener: Listener | None = None) -> tuple[Path, int]:
    """Write `qupath.groovy` into a run or a folder of predictions, and of a run figures/<slide>.geojson of all slides.

    The script loads figures/, tissue/ and outlines/ into the image of the same name. In them every position is counted
    as QuPath does it, from the corner of the scanned part of a slide.

    Returns:
        The script, and of how many slides there are tiles.

    Raises:
        RunError: the run is not finished or not evaluated; or there are no tiles of any slide.
    """
    predicted = PredictedFolder(folder)
    if predicted.there:
        rows = predicted.slides
        slides = [slide for slide in predicted.table["slide"] if figure_file(predicted.folder, slide, SCORES).is_file()]
        fix = "predict again with --heatmaps: what is finished is not predicted twice"
    else:
        from asmil.report import write_heatmaps

        run = Run.open(folder)
        files, rows = write_heatmaps(run, kinds=(SCORES,), partial=partial), run.predictions["slide"].tolist()
        slides = [original_name(file.name.removesuffix(SCORES)) for file in files]
        fix = "bring the features back to where the run found them"
    if not slides:
        raise RunError(f"{folder} has no tiles for QuPath", found=f"no figures/<slide>{SCORES}", fix=fix)
    if left := sorted({safe_name(slide) for slide in rows} - {safe_name(slide) for slide in slides}):
        (listener or default_listener()).warn(f"slides of which there are no tiles for QuPath: {listed(left)}", fix=fix)
    script = (importlib.resources.files("asmil.deploy") / QUPATH).read_text(encoding="utf-8")
    path = qupath_script(Path(folder))
    suffixes = "|".join(sorted(suffix[1:] for suffix in SLIDE_SUFFIXES | {".zarr"}))
    for word, value in (
        (SUFFIXES, rf"\.({suffixes})"),
        (NAMES, _groovy_map({slide: safe for slide in slides if (safe := safe_name(slide)) != slide})),
        (PLACE, groovy_text(str(Path(folder).resolve()))),
    ):
        script = script.replace(word, value)
    write_text(path, script)
    return path, len(slides)


def _groovy_map(names: dict[str, str]) -> str:
    return f"[{', '.join(f'{groovy_text(key)}: {groovy_text(value)}' for key, value in names.items()) or ':'}]"


def groovy_text(text: str) -> str:
    """A text as a literal of Groovy: in double quotes as JSON has it, and nothing in it is an expression."""
    return json.dumps(text).replace("$", "\\$")
