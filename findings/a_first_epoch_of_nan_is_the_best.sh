#!/usr/bin/env bash
# What: the number by which the best epoch is chosen is NaN after the first epoch and .5, .6, .9, .7, .7 ... afterwards. Keras stops after the fourth, as nothing is better than NaN, and its two callbacks give back and keep the weights of the first epoch; the checkpoints of ignite and MONAI are of the first epoch too, under the name of nan. Lightning, transformers and skorch keep the fourth, that of .9. A NaN that comes later is passed over by all.
# Versions: keras 3.15.1, pytorch-ignite 0.5.5, monai 1.6.1, lightning 2.6.6, transformers 5.24.0, skorch 1.4.0, torch 2.13.0. Seen 2026-12-01.
# Of Lightning it was reported and mended in 2020: https://github.com/Lightning-AI/pytorch-lightning/issues/2636
# Why it matters: after one epoch a bag model often says the same of every slide, and the correlation of a constant (with a stage, an expression, an age) is NaN, as are other ratios. A fold of untrained weights is tested, without an error. A loss is hardly ever NaN first and well later; metrics are.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'torch==2.13.0' 'keras==3.15.1' 'pytorch-ignite==0.5.5' 'monai==1.6.1' 'lightning==2.6.6' 'transformers==5.24.0' 'accelerate==1.15.0' 'skorch==1.4.0' 'numpy==2.4.6'
cd "$folder"
cat > trial.py <<'PYTHON'
import logging
import os
import warnings

warnings.filterwarnings("ignore")
os.environ["KERAS_BACKEND"] = "torch"
import numpy as np
import torch
from torch import nn

logging.disable(logging.ERROR)
EPOCHS, PATIENCE = 8, 3
with np.errstate(invalid="ignore"):
    of_a_constant = float(np.corrcoef(np.full(20, 0.5), np.arange(20))[0, 1])
LATER = [0.5, 0.6, 0.9, 0.7, 0.7, 0.7, 0.7]


class Counter(nn.Module):
    """Its weight is the number of epochs that it was trained for."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x, labels=None):
        return {"loss": -self.weight.sum(), "logits": self.weight[None]}


def by_keras(values):
    import keras

    class Value(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["value"] = values[epoch]

    start = keras.Input((1,))
    model = keras.Model(start, keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")(start))
    model.compile(optimizer=keras.optimizers.SGD(1.0), loss=lambda truth, told: -keras.ops.mean(told))
    stop = keras.callbacks.EarlyStopping("value", mode="max", patience=PATIENCE, restore_best_weights=True)
    keep = keras.callbacks.ModelCheckpoint("kept.keras", monitor="value", mode="max", save_best_only=True)
    one = np.ones((1, 1), "float32")
    history = model.fit(one, one, epochs=EPOCHS, verbose=0, callbacks=[Value(), stop, keep])
    kept = keras.models.load_model("kept.keras", compile=False).get_weights()[0].item()
    assert kept == model.get_weights()[0].item()
    return kept, len(history.history["loss"])


def by_ignite(values):
    from ignite.engine import Engine, Events
    from ignite.handlers import EarlyStopping, ModelCheckpoint

    model = Counter()

    @torch.no_grad()
    def train(engine, batch):
        model.weight.add_(1)

    trainer, judge = Engine(train), Engine(lambda engine, batch: None)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: judge.run([0]))
    score = lambda engine: values[trainer.state.epoch - 1]
    keep = ModelCheckpoint("ignite", n_saved=1, score_function=score, score_name="value", require_empty=False)
    judge.add_event_handler(Events.COMPLETED, keep, {"model": model})
    judge.add_event_handler(Events.COMPLETED, EarlyStopping(PATIENCE, score, trainer))
    trainer.run([0], max_epochs=EPOCHS)
    return torch.load(keep.last_checkpoint)["weight"].item(), trainer.state.epoch


def by_monai(values):
    from ignite.engine import Engine, Events
    from monai.handlers import CheckpointSaver

    model, coming = Counter(), iter(values)

    @torch.no_grad()
    def train(engine, batch):
        model.weight.add_(1)

    trainer, judge = Engine(train), Engine(lambda engine, batch: None)
    judge.state.key_metric_name = "value"
    judge.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: engine.state.metrics.update(value=next(coming)))
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: judge.run([0]))
    kept = f"monai{len(os.listdir())}"
    os.mkdir(kept)
    CheckpointSaver(save_dir=kept, save_dict={"model": model}, save_key_metric=True, key_metric_n_saved=1).attach(judge)
    trainer.run([0], max_epochs=EPOCHS)
    (path,) = os.listdir(kept)
    return torch.load(os.path.join(kept, path))["weight"].item(), trainer.state.epoch


def by_lightning(values):
    import lightning
    from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = Counter()

        def training_step(self, batch, index):
            return self.model(batch)["loss"]

        def validation_step(self, batch, index):
            self.log("value", values[self.current_epoch], batch_size=1)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=1.0)

    keep = ModelCheckpoint(dirpath="lightning", monitor="value", mode="max")
    stop = EarlyStopping("value", patience=PATIENCE, mode="max", check_finite=False)
    trainer = lightning.Trainer(max_epochs=EPOCHS, callbacks=[keep, stop], accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0)
    loader = torch.utils.data.DataLoader([torch.zeros(1)])
    trainer.fit(Module(), loader, loader)
    return torch.load(keep.best_model_path, weights_only=False)["state_dict"]["model.weight"].item(), trainer.current_epoch


def by_transformers(values):
    from transformers import EarlyStoppingCallback, Trainer, TrainingArguments

    coming, model = iter(values), Counter()
    slides = [{"x": torch.zeros(1), "labels": torch.zeros(1)}]
    arguments = TrainingArguments("transformers", num_train_epochs=EPOCHS, eval_strategy="epoch", save_strategy="epoch", load_best_model_at_end=True, metric_for_best_model="value", greater_is_better=True, report_to=[], use_cpu=True, disable_tqdm=True, optim="sgd", learning_rate=1.0, lr_scheduler_type="constant", max_grad_norm=0, logging_strategy="no")
    trainer = Trainer(model, arguments, train_dataset=slides, eval_dataset=slides, compute_metrics=lambda told: {"value": next(coming)}, callbacks=[EarlyStoppingCallback(PATIENCE)])
    trainer.train()
    return model.weight.item(), int(trainer.state.epoch)


def by_skorch(values):
    import skorch
    from skorch.callbacks import EarlyStopping, EpochScoring

    class Told(Counter):
        def forward(self, x):
            return self.weight.expand(len(x), 1)

    class Loss(nn.Module):
        def forward(self, told, truth):
            return -told.mean()

    coming = iter(values)
    callbacks = [EpochScoring(lambda net, x, y: next(coming), lower_is_better=False, name="value"), EarlyStopping(monitor="value", patience=PATIENCE, lower_is_better=False, load_best=True)]
    net = skorch.NeuralNet(Told, criterion=Loss, lr=1.0, max_epochs=EPOCHS, verbose=0, train_split=skorch.dataset.ValidSplit(2), callbacks=callbacks)
    zeros = np.zeros((4, 1), "float32")
    net.fit(zeros, zeros)
    return net.module_.weight.item(), len(net.history)


print(f"expected: the correlation of a constant is {of_a_constant}; of {[of_a_constant, *LATER]} the fourth epoch is kept")
seen = {}
for package in (by_keras, by_ignite, by_monai, by_lightning, by_transformers, by_skorch):
    name = package.__name__[3:]
    for when, values in {"first": [of_a_constant, *LATER], "third": [0.4, 0.5, of_a_constant, *LATER[2:]]}.items():
        kept, trained = package(values)
        seen[name, when] = int(kept)
        print(f"seen:     {name:12s} NaN in the {when} epoch: epoch {int(kept)} is kept, {trained} were trained")
stated = all(epoch == (1 if when == "first" and name in ("keras", "ignite", "monai") else 4) for (name, when), epoch in seen.items())
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
OMP_NUM_THREADS=1 venv/bin/python trial.py > said 2>&1 || { cat said >&2; exit 1; }
grep -E '^(expected|seen):' said
