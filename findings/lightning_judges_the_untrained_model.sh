#!/usr/bin/env bash
# What: Lightning's `EMAWeightAveraging(update_starting_at_step=45)` validates the weights that the model was born with until step 45, and a training that ends before it returns them. `update_starting_at_epoch=4` does not start later: it averages from the first step.
# Versions: lightning 2.6.6, torch 2.13.0. Seen 2026-12-01.
# Why it matters: folds have other numbers of slides, so a start in steps lies in another epoch of each; early stopping and checkpoints choose by numbers of an untrained model, and a small fold is tested with one. No message.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'lightning==2.6.6' 'torch==2.13.0' 'numpy==2.4.6'
cd "$folder"
cat > trial.py <<'PYTHON'
import logging
import warnings

warnings.filterwarnings("ignore")
import lightning
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
SLIDES = TensorDataset(torch.ones(10))


class Model(lightning.LightningModule):
    """One weight that begins at 0 and is taught to be 1; what validation sees of it is kept."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.trained, self.judged = [], []

    def training_step(self, batch, _):
        return (self.weight - batch[0]).square().mean()

    def on_train_epoch_end(self):
        self.trained.append(round(self.weight.item(), 2))

    def validation_step(self, batch, _):
        self.judged.append(round(self.weight.item(), 2))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.05)


def train(**start):
    model = Model()
    trainer = lightning.Trainer(max_epochs=8, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, callbacks=[EMAWeightAveraging(decay=0.9, **start)])
    trainer.fit(model, DataLoader(SLIDES, 1), DataLoader(SLIDES, 10))
    return model.trained, model.judged, round(model.weight.item(), 2)


print("expected: before the start the model as it is trained, and no average from before the start")
seen = {}
for name, start in {"no start": {}, "step 45": {"update_starting_at_step": 45}, "step 100": {"update_starting_at_step": 100}, "epoch 4": {"update_starting_at_epoch": 4}}.items():
    trained, seen[name], end = train(**start)
    seen[name].append(end)
    print(f"seen:     {name:9s} trained after each epoch of 10 steps {trained}, judged {seen[name][:-1]}, at the end {end}")
delayed = seen["step 45"][:4] == [0] * 4 and seen["step 45"][4] > 0.9
untrained = seen["step 100"] == [0] * 9
from_the_first = seen["epoch 4"][:4] == seen["no start"][:4] and seen["epoch 4"][0] > 0
raise SystemExit(0 if delayed and untrained and from_the_first else "no longer as stated")
PYTHON
venv/bin/python trial.py 2> said || { cat said >&2; exit 1; }
