"""What the zarr formats share: groups by path, and chunks that were never written."""

from typing import Any

from asmil.bags.formats._source import ZarrSource
from asmil.errors import FeatureError


def member(group: Any, *path: str) -> Any:
    """The array or group at a path below a group, or None; a plain file among the members is passed over."""
    for name in path:
        group = group.get(name) if hasattr(group, "get") else None
        if group is None:
            return None
    return group


def is_array(item: Any) -> bool:
    """Whether a member is an array."""
    return item is not None and hasattr(item, "nchunks_initialized")


def whole(array: Any, source: ZarrSource) -> Any:
    """The array, if all of its chunks are there: zarr would read those a killed run left out as zeros.

    Raises:
        FeatureError: chunks are missing.
    """
    if array.nchunks_initialized < array.nchunks:
        found = f"{array.nchunks_initialized} of {array.nchunks} chunks of {array.path}"
        raise FeatureError(f"{source.path.name} was never finished", found=found, fix="extract the slide again")
    return array
