#!/usr/bin/env bash
# What: a slide transformer of nn.TransformerEncoderLayer that is fine-tuned by LoRA (peft) answers as fine-tuned while it trains, and as the base model, to the last bit but rounding, in evaluation.
# In evaluation the layer takes a fast path, which hands the weights of linear1, linear2 and the attention to one kernel and never calls these modules; the weight of a module that peft has wrapped is that of the base. The path is not taken where a gradient is due: the base is frozen, so none is. With a layer before it that is also adapted ("all-linear") it is taken under no_grad only.
# Versions: peft 0.21.2, torch 2.13.0. Seen 2026-12-01.
# Why it matters: AUC .98 in training and .50 in validation reads as overfitting of a small cohort; the best epoch is drawn by lot, and a model without its adapter is handed out. merge_and_unload() before evaluation, or torch.backends.mha.set_fastpath_enabled(False), is right.
# For nn.TransformerEncoder, which asks more of the layer, an error in evaluation is reported: https://github.com/huggingface/peft/issues/761
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'peft==0.21.2' 'torch==2.13.0' 'transformers==5.24.0' 'accelerate==1.15.0' 'numpy==2.4.6' 'scipy==1.17.1' 'scikit-learn==1.9.1'
cd "$folder"
cat > trial.py <<'PYTHON'
import importlib.metadata
import warnings

warnings.simplefilter("ignore")
import torch
from peft import LoHaConfig, LoraConfig, get_peft_model
from sklearn.metrics import roc_auc_score
from torch import nn

print("peft", importlib.metadata.version("peft"), "torch", torch.__version__.split("+")[0])
SLIDES, TILES, WIDTH = 200, 9, 64


class Aggregator(nn.Module):
    def __init__(self):
        super().__init__()
        self.enter = nn.Linear(WIDTH, WIDTH)
        self.layer = nn.TransformerEncoderLayer(WIDTH, 4, 128, dropout=0.0, batch_first=True)
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, bags):
        return self.head(self.layer(self.enter(bags)).mean(1))[:, 0]


torch.manual_seed(0)
bags = torch.randn(SLIDES, TILES, WIDTH)
highest = bags[:, :, 0].amax(1)
label = (highest > highest.median()).float()


def auc(answer):
    return roc_auc_score(label, answer.detach())


def trial(config):
    torch.manual_seed(0)
    base = Aggregator()
    before = base.eval()(bags).detach()
    model = get_peft_model(base, config)
    model.train()
    steps = torch.optim.AdamW([value for value in model.parameters() if value.requires_grad], lr=0.005)
    for _ in range(60):
        loss = nn.functional.binary_cross_entropy_with_logits(model(bags), label)
        steps.zero_grad()
        loss.backward()
        steps.step()
    answers = {"training": model(bags).detach()}
    model.eval()
    answers["evaluation"] = model(bags).detach()
    with torch.no_grad():
        answers["evaluation, no_grad"] = model(bags)
        torch.backends.mha.set_fastpath_enabled(False)
        answers["without the fast path"] = model(bags)
        torch.backends.mha.set_fastpath_enabled(True)
        answers["merged"] = model.merge_and_unload().eval()(bags)
    return {name: (auc(answer), (answer - before).abs().max().item()) for name, answer in answers.items()}


kinds = {
    "LoRA of linear1, linear2": LoraConfig(r=8, target_modules=["linear1", "linear2"]),
    "LoRA of self_attn": LoraConfig(r=8, target_modules=["self_attn"]),
    "LoRA of all-linear": LoraConfig(r=8, target_modules="all-linear"),
    "LoHa of linear1, linear2": LoHaConfig(r=8, target_modules=["linear1", "linear2"]),
}
print("expected: the fine-tuned model, without dropout, has one answer in training, in evaluation and merged")
stated = True
for name, config in kinds.items():
    found = trial(config)
    print(f"seen:     {name:25s} " + "; ".join(f"{state}: AUC {area:.2f}, {far:.1g} from the base model" for state, (area, far) in found.items()))
    right = all(found[state][0] > 0.85 and found[state][1] > 0.1 for state in ("training", "without the fast path", "merged"))
    lost = found["evaluation, no_grad"][0] < found["training"][0] - 0.05
    if name != "LoRA of all-linear":
        lost = all(found[state][1] < 1e-4 for state in ("evaluation", "evaluation, no_grad"))
    stated = stated and right and lost
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
OMP_NUM_THREADS=1 venv/bin/python trial.py 2> said || { cat said >&2; exit 1; }
