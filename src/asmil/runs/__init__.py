"""A run: its settings, its folder, who it is, and the stages that make it and put it to use."""

from typing import TYPE_CHECKING, Any

from asmil._lazy import load

if TYPE_CHECKING:
    from asmil.runs.extraction import extract_folder as extract_folder
    from asmil.runs.inputs import device_of as device_of
    from asmil.runs.pipeline import evaluate as evaluate
    from asmil.runs.pipeline import export as export
    from asmil.runs.pipeline import extract as extract
    from asmil.runs.pipeline import heatmap as heatmap
    from asmil.runs.pipeline import predict as predict
    from asmil.runs.pipeline import run as run
    from asmil.runs.pipeline import train as train
    from asmil.runs.pipeline import write_report as write_report
    from asmil.runs.seam import Run as Run
    from asmil.runs.settings import ABOUT as ABOUT
    from asmil.runs.settings import Device as Device
    from asmil.runs.settings import Group as Group
    from asmil.runs.settings import PositiveInt as PositiveInt
    from asmil.runs.settings import Settings as Settings
    from asmil.runs.settings import described as described
    from asmil.runs.settings_file import dump_settings as dump_settings
    from asmil.runs.settings_file import load_settings as load_settings

_HOME = {
    "ABOUT": "settings",
    "Device": "settings",
    "Group": "settings",
    "PositiveInt": "settings",
    "Run": "seam",  # at merge: folder
    "Settings": "settings",
    "changed": "settings_file",
    "described": "settings",
    "device_of": "inputs",
    "dump_settings": "settings_file",
    "ended": "settings_file",
    "evaluate": "pipeline",
    "export": "pipeline",
    "extract": "pipeline",
    "extract_folder": "extraction",
    "heatmap": "pipeline",
    "load_settings": "settings_file",
    "note_tables": "inputs",
    "predict": "pipeline",
    "read_tables": "inputs",
    "require_writable": "inputs",
    "run": "pipeline",
    "slide_files_of": "inputs",
    "slide_mpp_of": "inputs",
    "slides_in": "extraction",
    "extract_settings": "inputs",
    "splits_of": "inputs",
    "train": "pipeline",
    "write_report": "pipeline",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    return load(__name__, _HOME, name)
