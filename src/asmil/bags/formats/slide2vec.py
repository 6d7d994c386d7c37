"""slide2vec: `tile_embeddings/<slide>.pt` or `.npz` with `.meta.json` beside, places in `tiles/` of the same run."""

from pathlib import Path

import numpy as np

from asmil.bags.reading.entry import Array, Entry, Facts, number, slide_level
from asmil.bags.reading.source import facts_in, load_array, plain_array
from asmil.bags.tables import slide_name
from asmil.errors import FeatureError
from asmil.files import suffix_of

FOLDER, LATENTS = "tile_embeddings", "slide_latents"
"""Where a run keeps the features of tiles, and what a slide encoder made of them, the one without a file of facts."""


class _Slide2vec:
    suffixes = (".pt", ".npz")

    def sniff(self, source: Path) -> bool:
        return "artifact_type" in _about(source) or LATENTS in (folder.name for folder in source.parents[:2])

    def slides(self, source: Path) -> dict[str, Array | None]:
        about = _about(source)
        kind, dim = about.get("artifact_type", LATENTS), about.get("feature_dim")
        if kind in ("slide_embeddings", "patient_embeddings", LATENTS):
            raise slide_level(source, kind if dim is None else f"{kind} of dimension {dim}")
        if kind == "hierarchical_embeddings":
            found = f"shape ({about.get('num_regions')}, {about.get('tiles_per_region')}, {dim})"
            fix = "embed without region_tile_multiple, or save one row for each tile"
            raise FeatureError(f"{source.name} holds regions of tiles, not tiles", found=found, fix=fix)
        if kind != FOLDER:
            fix = f"give the folder {FOLDER} of the run"
            raise FeatureError(f"{source.name} holds other things than features of tiles", found=kind, fix=fix)
        return {slide_name(source.name): None}

    def entry(self, source: Path, key: str) -> Entry:
        about = _about(source)
        packed = suffix_of(source) == ".npz"
        features = plain_array(source, member="features") if packed else load_array(source)
        coords, tiling, notes = _places(source)
        scale, made = tiling.get("slide", {}), about.get("compatibility", {})
        return Entry(
            features=features,
            coords=coords,
            tile_level0_px=number(about, "tile_size_lv0"),
            mpp=number(about, "requested_spacing_um"),
            slide_mpp=number(scale, "base_spacing_um"),
            encoder=about.get("encoder_name") or made.get("encoder_name"),
            provenance=lambda: about | {"tile_px": about.get("requested_tile_size_px")},
            notes=notes,
        )


def _about(source: Path) -> Facts:
    return facts_in(source.with_name(f"{source.stem}.meta.json"))


def _places(source: Path) -> tuple[np.ndarray | None, Facts, tuple[str, ...]]:
    """Top-left corners in level-0 pixels in the order of the features' rows, what is said of the tiling, and notes.

    Features of a class of annotations, `tile_embeddings/<class>/`, have theirs in `tiles/<class>/`.
    """
    run = next((folder.parent for folder in source.parents if folder.name == FOLDER), None)
    within = Path() if run is None else source.parent.relative_to(run / FOLDER)
    path = (run or source.parent.parent) / "tiles" / within / f"{source.stem}.coordinates.npz"
    tiling = facts_in(path.with_name(f"{source.stem}.coordinates.meta.json"))
    if not path.is_file():
        return None, tiling, (f"the places of the tiles are in tiles/{path.name} of the run, which is not there",)
    if (space := tiling.get("artifact", {}).get("coordinate_space", "level0_px")) != "level0_px":
        return None, tiling, (f"places of tiles are in another space than pixels of level 0: {space}",)
    x, y, index = (plain_array(path, member=name) for name in ("x", "y", "tile_index"))
    if not np.array_equal(index, np.arange(len(x))) or x.shape != y.shape:
        raise FeatureError(f"{path.name} does not hold its tiles in their order", found=f"{len(x)} places")
    return np.stack([x, y], axis=1), tiling, ()


FORMAT = _Slide2vec()
