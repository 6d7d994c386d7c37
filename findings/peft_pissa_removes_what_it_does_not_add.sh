#!/usr/bin/env bash
# What: LoRA that begins with the largest parts of each weight (PiSSA, OLoRA: they are taken out of the weight and put into the adapter, so that the sum is as before) changes a model with nn.MultiheadAttention before the first step: of its output projection the part is taken out and never added, since the attention reads the weight and does not call the module.
# "all-linear" chooses that projection. Its adapter gets no gradient; merged, the part comes back, and the answers change again.
# Versions: peft 0.21.2, torch 2.13.0. Seen 2026-12-01.
# Why it matters: a pretrained aggregator is damaged where the method promises to begin as it was, and what is merged is another model than was trained and validated. With the default beginning (zeros) the projection is left alone. That the projection is not trained is known: https://github.com/huggingface/peft/issues/2200
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'peft==0.21.2' 'torch==2.13.0' 'transformers==5.24.0' 'accelerate==1.15.0' 'numpy==2.4.6'
cd "$folder"
cat > trial.py <<'PYTHON'
import importlib.metadata
import warnings

warnings.simplefilter("ignore")
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

print("peft", importlib.metadata.version("peft"), "torch", torch.__version__.split("+")[0])
SLIDES, TILES, WIDTH = 60, 9, 64


class Aggregator(nn.Module):
    def __init__(self, called):
        super().__init__()
        self.enter, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 2)
        self.attention, self.called = nn.MultiheadAttention(WIDTH, 4, batch_first=True), called

    def forward(self, bags):
        tiles = self.enter(bags)
        if not self.called:
            return self.head((tiles + self.attention(tiles, tiles, tiles, need_weights=False)[0]).mean(1))
        q, k, v = nn.functional.linear(tiles, self.attention.in_proj_weight, self.attention.in_proj_bias).unflatten(-1, (3, 4, WIDTH // 4)).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.head((tiles + self.attention.out_proj(mixed)).mean(1))


torch.manual_seed(0)
bags, label = torch.randn(SLIDES, TILES, WIDTH), torch.randint(0, 2, (SLIDES,))


def far(answer, other):
    return ((answer - other).abs().mean() / other.std()).item()


def trial(beginning, called):
    torch.manual_seed(0)
    base = Aggregator(called)
    before = base(bags).detach()
    model = get_peft_model(base, LoraConfig(r=8, target_modules="all-linear", init_lora_weights=beginning))
    start = model(bags).detach()
    steps = torch.optim.AdamW([value for value in model.parameters() if value.requires_grad], lr=0.001)
    for _ in range(30):
        loss = nn.functional.cross_entropy(model(bags), label)
        steps.zero_grad()
        loss.backward()
        steps.step()
    without = sum(value.requires_grad and value.grad is None for value in model.parameters())
    trained = model(bags).detach()
    return far(start, before), without, far(model.merge_and_unload()(bags).detach(), trained)


print("expected: before the first step the answers are the base model's, and merging changes none (in deviations of the answers)")
stated = True
for name, beginning in {"zeros (default)": True, "pissa": "pissa", "olora": "olora"}.items():
    for called in (False, True):
        start, without, merged = trial(beginning, called)
        print(f"seen:     {name:16s} " + ("the same attention, its projection called" if called else "nn.MultiheadAttention") + f": {start:.2g} off at the start, {without} adapter weights without a gradient, {merged:.2g} off after merging")
        damaged = not called and name != "zeros (default)"
        stated = stated and ((start > 0.05 and merged > 0.02) if damaged else (start < 1e-4 and merged < 1e-4)) and without == (0 if called else 2)
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
OMP_NUM_THREADS=1 venv/bin/python trial.py 2> said || { cat said >&2; exit 1; }
