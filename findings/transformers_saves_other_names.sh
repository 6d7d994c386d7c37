#!/usr/bin/env bash
# What: the names in the file that transformers saves for a DINOv2 with SwiGLU (the shape of giant tile encoders) are not those of the model's state_dict, though both are of the same version.
# Versions: transformers 5.24.0, torch 2.13.0, safetensors 0.8.0. Seen 2026-11-29.
# Why it matters: from_pretrained renames them back. Who loads the file with load_state_dict(strict=False) gets a model most of whose weights are the random ones of its start: features come out, and no error.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'transformers==5.24.0' 'torch==2.13.0' 'safetensors==0.8.0'
cd "$folder"
venv/bin/python - <<'PYTHON'
import logging

logging.disable(logging.WARNING)
import torch
import transformers
from safetensors.torch import load_file
from transformers import Dinov2Config, Dinov2Model

print("transformers", transformers.__version__, "torch", torch.__version__)
config = Dinov2Config(hidden_size=24, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14, use_swiglu_ffn=True)
torch.manual_seed(0)
saved = Dinov2Model(config).eval()
saved.save_pretrained("encoder")
file = load_file("encoder/model.safetensors")
memory = set(saved.state_dict())
loaded = Dinov2Model(config).eval()
missing = loaded.load_state_dict(file, strict=False).missing_keys
right = Dinov2Model.from_pretrained("encoder").eval()
tile = torch.randn(1, 3, 28, 28)
with torch.no_grad():
    want, by_names, by_library = (model(tile).pooler_output for model in (saved, loaded, right))
print("expected: the file has the names of state_dict()")
print(f"seen:     {len(memory)} names in memory, {len(file)} in the file, {len(memory & set(file))} in both; for example {sorted(set(file) - memory)[0]} for {sorted(memory - set(file))[0]}")
print(f"          load_state_dict(strict=False) leaves {len(missing)} of {len(memory)} at random; largest change of a feature {(by_names - want).abs().max():.3f}, by from_pretrained {(by_library - want).abs().max():.3f}")
raise SystemExit(0 if len(missing) > 20 and (by_library - want).abs().max() < 1e-5 else "no longer as stated")
PYTHON
