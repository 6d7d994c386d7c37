"""What a run is asked for: its settings, what they name, opened and checked, and what has to stay the same."""

from typing import TYPE_CHECKING, Any

from asmil.registry import load

if TYPE_CHECKING:
    from asmil.settings.extraction import extract_folder as extract_folder
    from asmil.settings.extraction import slides_in as slides_in
    from asmil.settings.identity import data_identity as data_identity
    from asmil.settings.identity import go_on as go_on
    from asmil.settings.identity import require_shapes as require_shapes
    from asmil.settings.identity import settings_identity as settings_identity
    from asmil.settings.inputs import Inputs as Inputs
    from asmil.settings.inputs import check_extraction as check_extraction
    from asmil.settings.inputs import device_of as device_of
    from asmil.settings.inputs import extract_settings as extract_settings
    from asmil.settings.inputs import note_tables as note_tables
    from asmil.settings.inputs import open_inputs as open_inputs
    from asmil.settings.inputs import read_tables as read_tables
    from asmil.settings.inputs import recipe_of as recipe_of
    from asmil.settings.inputs import require_writable as require_writable
    from asmil.settings.inputs import slide_files_of as slide_files_of
    from asmil.settings.inputs import slide_mpp_of as slide_mpp_of
    from asmil.settings.inputs import splits_of as splits_of
    from asmil.settings.inputs import workers_of as workers_of
    from asmil.settings.reading import KEY as KEY
    from asmil.settings.reading import MarkedYaml as MarkedYaml
    from asmil.settings.reading import Mistake as Mistake
    from asmil.settings.reading import changed as changed
    from asmil.settings.reading import dump_settings as dump_settings
    from asmil.settings.reading import ended as ended
    from asmil.settings.reading import load_settings as load_settings
    from asmil.settings.reading import read_value as read_value
    from asmil.settings.settings import ABOUT as ABOUT
    from asmil.settings.settings import Described as Described
    from asmil.settings.settings import Device as Device
    from asmil.settings.settings import Group as Group
    from asmil.settings.settings import PositiveInt as PositiveInt
    from asmil.settings.settings import Settings as Settings
    from asmil.settings.settings import described as described

_SETTINGS = ("ABOUT", "Described", "Device", "Group", "PositiveInt", "Settings", "described")
_INPUTS = (
    "Inputs",
    "check_extraction",
    "device_of",
    "extract_settings",
    "note_tables",
    "open_inputs",
    "read_tables",
    "recipe_of",
    "require_writable",
    "slide_files_of",
    "slide_mpp_of",
    "splits_of",
    "workers_of",
)
_HOME = {
    **dict.fromkeys(_SETTINGS, "settings"),
    **dict.fromkeys(("changed", "dump_settings", "ended", "load_settings"), "reading"),
    **dict.fromkeys(("KEY", "MarkedYaml", "Mistake", "read_value"), "reading"),
    **dict.fromkeys(("data_identity", "go_on", "require_shapes", "settings_identity"), "identity"),
    **dict.fromkeys(_INPUTS, "inputs"),
    **dict.fromkeys(("extract_folder", "slides_in"), "extraction"),
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    return load(__name__, _HOME, name)
