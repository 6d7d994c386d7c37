#!/usr/bin/env bash
# What: a slide in OME-Zarr may give its pixel size in two steps, a scale of each level and one for all of them, which are multiplied. tiatoolbox leaves the second out, and takes any unit, also none, for micrometres.
# Versions: tiatoolbox 2.1.3, zarr 3.1.6; beside them bioio-ome-zarr 3.8.1, which multiplies. Seen 2026-12-01.
# Why it matters: tiles at .5 um per pixel show a sixteenth of the tissue that they should, enlarged, without an error; the features look like any others.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'tiatoolbox==2.1.3' 'torch==2.12.1' 'openslide-bin==4.0.1.1' 'zarr==3.1.6'
python3 -m venv "$folder/other"
"$folder/other/bin/pip" install --quiet --no-compile --disable-pip-version-check 'bioio==3.6.0' 'bioio-ome-zarr==3.8.1' 'zarr==3.1.6'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata
import logging
import warnings

import numpy as np
import zarr
from tiatoolbox.wsicore.wsireader import WSIReader

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
print("tiatoolbox", importlib.metadata.version("tiatoolbox"), "zarr", zarr.__version__)
ramp = np.broadcast_to(np.arange(1280) // 5, (3, 1024, 1280)).astype(np.uint8)  # grey says how far from the left edge


def write(name, unit, of_levels, of_all):
    """NGFF 0.4, three levels; the pixel is of_levels * of_all units wide."""
    group, axes, levels = zarr.open_group(name, mode="w", zarr_format=2), [{"name": "c", "type": "channel"}], []
    axes += [{"name": axis, "type": "space", **({"unit": unit} if unit else {})} for axis in "yx"]
    for number, step in enumerate((1, 2, 4)):
        pixels = ramp[:, ::step, ::step]
        array = group.create_array(str(number), shape=pixels.shape, chunks=(3, 256, 256), dtype="u1", chunk_key_encoding={"name": "v2", "separator": "/"})
        array[:] = pixels
        levels.append({"path": str(number), "coordinateTransformations": [{"type": "scale", "scale": [1.0, of_levels * step, of_levels * step]}]})
    image = {"version": "0.4", "name": "slide", "axes": axes, "datasets": levels}
    if of_all != 1:
        image["coordinateTransformations"] = [{"type": "scale", "scale": [1.0, of_all, of_all]}]
    channels = [{"label": name, "color": colour, "active": True, "window": {"start": 0, "end": 255, "min": 0, "max": 255}} for name, colour in (("R", "FF0000"), ("G", "00FF00"), ("B", "0000FF"))]
    group.attrs.update({"multiscales": [image], "omero": {"name": "slide", "channels": channels, "rdefs": {"model": "color"}}})


print("expected: .25 um per pixel for the first four, unknown for the last; a tile of 64 px at .5 um is 128 px of level 0 wide")
mpp, wide = {}, {}
for name, unit, of_levels, of_all in (("one step", "micrometer", 0.25, 1), ("two steps", "micrometer", 1.0, 0.25), ("nanometres", "nanometer", 250.0, 1), ("millimetres", "millimeter", 0.00025, 1), ("no unit", None, 0.25, 1)):
    path = f"{name.replace(' ', '_')}.zarr"
    write(path, unit, of_levels, of_all)
    reader = WSIReader.open(path)
    mpp[name] = float(reader.info.mpp[0])
    said = ""
    if name in ("one step", "two steps"):
        tile = reader.read_rect((400, 400), (64, 64), resolution=0.5, units="mpp").astype(float)
        wide[name] = 5 * (tile[:, -1, 0].mean() - tile[:, 0, 0].mean()) * 64 / 63
        said = f"; the tile is some {wide[name]:.0f} px of level 0 wide"
    print(f"seen:     {name:11s} mpp {mpp[name]:g}{said}")
stated = mpp == {"one step": 0.25, "two steps": 1.0, "nanometres": 250.0, "millimetres": 0.00025, "no unit": 0.25}
raise SystemExit(0 if stated and 120 < wide["one step"] < 136 and 26 < wide["two steps"] < 38 else "no longer as stated")
PYTHON
other/bin/python - <<'PYTHON'
import bioio_ome_zarr
from bioio import BioImage

found = BioImage("two_steps.zarr", reader=bioio_ome_zarr.Reader).physical_pixel_sizes.X
print(f"beside:   bioio-ome-zarr reads {found:g} for the slide of two steps")
raise SystemExit(0 if found == 0.25 else "no longer as stated")
PYTHON
