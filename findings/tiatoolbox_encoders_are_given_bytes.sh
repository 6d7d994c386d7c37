#!/usr/bin/env bash
# What: `DeepFeatureExtractor` of tiatoolbox hands an encoder the pixels as they are, 0 to 255 in floating point: neither scaled to 0 to 1 nor with mean and deviation. So with every name of `TimmBackbone` (UNI, UNI2, Virchow, prov-gigapath, H-optimus, kaiko) and `CNNBackbone`, for which `get_pretrained_model` sets no `preproc_func`; its models of Kather's tiles get one. Here with efficientnet_b0, the one of those names that needs no download.
# Versions: tiatoolbox 2.1.3, torch 2.12.1, timm 1.0.27. Seen 2026-12-01.
# Why it matters: features come out, of the right shape; they are not the encoder's, and whoever joins them with features of another program has two kinds. Its notebook on foundation models runs kaiko in this way.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'tiatoolbox==2.1.3' 'torch==2.12.1' 'timm==1.0.27' 'openslide-bin==4.0.1.1' 'zarr==3.1.6'
cd "$folder"
cat > trial.py <<'PYTHON'
import warnings

warnings.filterwarnings("ignore")
import numpy as np
import torch
from tiatoolbox.models.architecture.vanilla import TimmBackbone
from tiatoolbox.models.engine.deep_feature_extractor import DeepFeatureExtractor
from timm.data import resolve_model_data_config

torch.manual_seed(0)
model = TimmBackbone("efficientnet_b0", pretrained=False).eval()
given = []
model.feat_extract.register_forward_pre_hook(lambda module, inputs: given.append(inputs[0].clone()))
tiles = np.random.default_rng(0).integers(100, 256, (4, 224, 224, 3), dtype=np.uint8)


def run(preproc=None):
    model.preproc_func = preproc
    given.clear()
    extractor = DeepFeatureExtractor(model=model, batch_size=4, verbose=False)
    extractor.run(tiles, patch_mode=True, output_type="dict", patch_input_shape=(224, 224), input_resolutions=[{"units": "baseline", "resolution": 1.0}])
    return given[0].min().item(), given[0].max().item()


config = resolve_model_data_config(model.feat_extract)
mean, deviation = np.float32(config["mean"]), np.float32(config["std"])
low, high = (100 / 255 - mean.max()) / deviation.max(), (1 - mean.min()) / deviation.min()
print(f"expected: the encoder is given values of {low:.1f} to {high:.1f}, as timm's configuration has them")
as_it_is = run()
print(f"seen:     {as_it_is[0]:.0f} to {as_it_is[1]:.0f}")
set_by_hand = run(lambda image: (np.float32(image) / 255 - mean) / deviation)
print(f"seen:     {set_by_hand[0]:.1f} to {set_by_hand[1]:.1f} with a `preproc_func` of one's own")
raise SystemExit(0 if as_it_is == (100, 255) and set_by_hand[1] < 3 else "no longer as stated")
PYTHON
venv/bin/python trial.py 2> said || { cat said >&2; exit 1; }
