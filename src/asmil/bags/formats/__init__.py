"""How feature files of different tools are laid out, one layout per module."""

from asmil.registry import FolderRegistry

FEATURE_FORMATS = FolderRegistry("feature format", "asmil.bags.formats", "FORMAT", group="asmil.formats")
