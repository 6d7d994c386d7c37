#!/usr/bin/env bash
# What: Opacus replaces `nn.MultiheadAttention` by its own and loads its weights. With `batch_first=True` the answer is another one: the outputs of the heads are laid behind each other and cut into rows, so that with 4 heads the row of the class token is the first head's output for the class token and the first three tiles, and the first head of all tiles fills the first quarter of the rows. With `batch_first=False` the answers are equal. A change of tile 3 alone, in attention that lets each tile see only itself (the others have no say), moves the class token's row.
# Versions: opacus 1.6.0, torch 2.13.0. Seen 2026-12-01.
# Why it matters: bags are (1, tiles, features). A pretrained aggregator is another function before the first step, and a model trained so reads its class token off one head. No message: shapes are right. Known since May 2026 (https://github.com/meta-pytorch/opacus/pull/825), not in a release.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'torch==2.13.0' 'opacus==1.6.0' 'numpy==2.4.6'
cd "$folder"
cat > trial.py <<'PYTHON'
import torch
from opacus.validators import ModuleValidator
from torch import nn


class Aggregator(nn.Module):
    def __init__(self, first):
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 4, batch_first=first)

    def forward(self, bag):
        return self.attention(bag, bag, bag)[0]


@torch.no_grad()
def apart(ours, theirs):
    return ((ours - theirs).norm() / ours.norm()).item()


print("expected: the model that Opacus has fixed gives what it gave, within 1e-5; the row of a tile is made of that tile's query")
torch.manual_seed(0)
bag = torch.randn(1, 200, 16)
seen = {}
for first in (True, False):
    model = Aggregator(first).eval()
    fixed = ModuleValidator.fix(model).eval()
    given = bag if first else bag.transpose(0, 1)
    seen[first] = apart(model(given), fixed(given))
    print(f"seen:     batch_first={first}: {100 * seen[first]:.4f} % apart")
    if first:  # every tile looks at itself only: large queries and keys
        with torch.no_grad():
            for layer in (model, fixed):
                parts = dict(layer.named_parameters())
                if "attention.in_proj_weight" in parts:
                    parts["attention.in_proj_weight"].copy_(torch.cat([100 * torch.eye(16), 100 * torch.eye(16), torch.eye(16)]))
                    parts["attention.in_proj_bias"].zero_()
                else:
                    for name, scale in (("q", 100), ("k", 100), ("v", 1)):
                        parts[f"attention.{name}linear.weight"].copy_(scale * torch.eye(16))
                        parts[f"attention.{name}linear.bias"].zero_()
                parts["attention.out_proj.weight"].copy_(torch.eye(16))
                parts["attention.out_proj.bias"].zero_()
        unit = torch.nn.functional.normalize(bag.view(1, 200, 4, 4), dim=-1).view(1, 200, 16)
        right, wrong = model(unit)[0], fixed(unit)[0]
        token = torch.stack([unit[0, tile, :4] for tile in range(4)]).flatten()
        itself = apart(unit[0], right)
        shuffled = apart(token, wrong[0])
        print(f"seen:     where every tile looks at itself only, the first row is head 1 of tiles 0, 1, 2, 3 to within {100 * shuffled:.2f} % in Opacus; in torch all rows are their own tiles to within {100 * itself:.2f} %")
raise SystemExit(0 if seen[True] > 0.5 and seen[False] < 1e-5 and shuffled < 0.01 and itself < 0.01 else "no longer as stated")
PYTHON
venv/bin/python trial.py 2> said || { cat said >&2; exit 1; }
