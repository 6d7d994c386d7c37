"""raw2features: `<slide>.embeddings.zarr`, a group for each grid of tiles, in it `coords` and `features/<model>`."""

from asmil.bags.reading.entry import Array, Entry, number
from asmil.bags.reading.source import ZarrSource, member, whole
from asmil.bags.tables import slide_name
from asmil.errors import FeatureError


class _Raw2features:
    suffixes = (".zarr", ".zip")

    def sniff(self, source: ZarrSource) -> bool:
        return member(source.group, "grids") is not None and "features" not in source.group

    def slides(self, source: ZarrSource) -> dict[str, Array | None]:
        slide, found = slide_name(source.file_name), dict[str, Array | None]()
        for grid, group in source.group["grids"].groups():
            arrays = group["features"].arrays() if "features" in group else ()
            found |= {f"{grid}/{model}/{slide}": array for model, array in arrays}
        if not found:
            fix = "embed the slide first"
            raise FeatureError(f"{source.path.name} holds no features of tiles", found="grids alone", fix=fix)
        return found

    def entry(self, source: ZarrSource, key: str) -> Entry:
        name, model, _ = key.split("/", 2)
        group = source.group["grids"][name]
        about = group.attrs.get("raw2features", {})
        tiling, unit = about.get("patching", {}), group["coords"].attrs.get("units", "level0_px")
        known = unit == "level0_px"
        notes = () if known else (f"places of tiles are in another unit than pixels of level 0: {unit}",)
        return Entry(
            features=whole(group["features"][model], source),
            coords=whole(group["coords"], source) if known else None,
            tile_level0_px=number(tiling, "level0_patch"),
            mpp=number(tiling, "achieved_mpp", "target_mpp"),
            slide_mpp=number(about.get("source", {}), "mpp_level0"),
            encoder=model,
            provenance=lambda: tiling | {"tile_px": tiling.get("patch_px")},
            notes=notes,
        )


FORMAT = _Raw2features()
