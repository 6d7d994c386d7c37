"""AnnData as `asmil convert --to anndata` writes it: X, the middles of tiles in obsm/spatial, facts in uns/asmil.

Other `.h5ad` files mostly hold counts of genes, and are refused.
"""

from pathlib import Path

import h5py

from asmil.bags.reading.entry import Array, Entry, Facts, number
from asmil.bags.tables import slide_name
from asmil.errors import FeatureError


class _AnnData:
    suffixes = (".h5ad",)

    def sniff(self, source: h5py.File) -> bool:
        return source.attrs.get("encoding-type") == "anndata"

    def slides(self, source: h5py.File) -> dict[str, Array | None]:
        if "uns/asmil" not in source:
            fix = "export the features as .npy or .h5: of a table of numbers it is not known what they are"
            name = Path(source.filename).name
            raise FeatureError(f"{name} does not say that it holds features of tiles", found="no uns/asmil", fix=fix)
        return {slide_name(source.filename): source["X"]}

    def entry(self, source: h5py.File, key: str) -> Entry:
        single = {name: value for name, value in source["uns/asmil"].items() if getattr(value, "shape", None) == ()}
        facts: Facts = {name: value[()] for name, value in single.items()}
        facts = {name: value.decode() if isinstance(value, bytes) else value for name, value in facts.items()}
        return Entry(
            features=source["X"],
            coords=source["obsm/spatial"],
            centred=True,
            tile_level0_px=number(facts, "tile_level0_px"),
            mpp=number(facts, "mpp"),
            slide_mpp=number(facts, "slide_mpp"),
            encoder=facts.get("encoder"),
            provenance=lambda: facts,
        )


FORMAT = _AnnData()
