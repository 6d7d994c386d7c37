"""Features written in the layouts of other tools and in ours, one layout per module, a slide at a time."""

from asmil.registry import FolderRegistry

LAYOUTS = FolderRegistry("layout", "asmil.bags.export", "write")
