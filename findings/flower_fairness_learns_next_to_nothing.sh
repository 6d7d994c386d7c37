#!/usr/bin/env bash
# What: Flower's QFedAvg, fair averaging, at its default q of .1 keeps three thousandths of what hospitals have learnt where they train with Adam, and less the longer they train and the larger the model: after five rounds it is the untrained model. At q = 0, where its documentation says that it is FedAvg, every hospital has the same weight: of hospitals with 40, 400 and 800 slides that send 0, 1 and 2 it makes 1.0, FedAvg 1.61.
# Versions: flwr 1.42.0, torch 2.13.0. Seen 2026-12-01.
# Why it matters: fairness between hospitals of unequal size is what it is chosen for, and attention models are trained with Adam. The loss stays where it was, nothing is logged, and the price of fairness seems to be everything.
# The step is divided by L + q/loss * |change * L|^2, with L = 1 / learning rate: for plain gradient descent the norm is that of the gradients, for Adam a weight moves by the rate in every step whatever its gradient is, so that the norm is the number of weights times the square of the number of steps.
# Source: compute_delta_and_h and aggregate_train of flwr/serverapp/strategy/qfedavg.py. The formula is as published, for local gradient descent; there hospitals are drawn by their size, here all take part.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'flwr==1.42.0' 'numpy==2.4.6' 'torch==2.13.0'
cd "$folder"
OMP_NUM_THREADS=1 venv/bin/python - <<'PYTHON'
import importlib.metadata
import logging
import warnings

warnings.simplefilter("ignore")
logging.disable(logging.WARNING)
import numpy as np
import torch
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg, QFedAvg
from flwr.supercore.task_identity import TaskIdentity
from torch import nn

torch.set_num_threads(1)
TaskIdentity.run_id = TaskIdentity.task_id = TaskIdentity.node_id = 1  # as in the process of a server app
print(*(f"{name} {importlib.metadata.version(name)}" for name in ("flwr", "torch")))


def together(strategy, before, told):
    """One round: what the strategy makes of (arrays, slides, loss) of each hospital."""
    strategy.current_arrays = ArrayRecord(before)  # as configure_train leaves it
    contents = [RecordDict({"arrays": ArrayRecord(arrays), "metrics": MetricRecord({"num-examples": slides, "train_loss": loss})}) for arrays, slides, loss in told]
    return strategy.aggregate_train(1, [Message(content, dst_node_id=1, message_type="train") for content in contents])[0].to_numpy_ndarrays()


class Attention(nn.Module):
    def __init__(self, width=256):
        super().__init__()
        self.first, self.v, self.w, self.head = nn.Linear(width, 128), nn.Linear(128, 64), nn.Linear(64, 1), nn.Linear(128, 1)

    def forward(self, bag):
        hidden = torch.relu(self.first(bag))
        return self.head((torch.softmax(self.w(torch.tanh(self.v(hidden))), 1) * hidden).sum(1))[:, 0]


def cohort(slides, seed):
    generator = torch.Generator().manual_seed(seed)
    bags, labels = torch.randn(slides, 20, 256, generator=generator), torch.arange(slides) % 2
    bags[:, :5, :16] += 0.8 * labels[:, None, None]
    return bags, labels.float()


def auc(model, bags, labels):
    with torch.no_grad():
        logits = model(bags)
    return (logits[labels == 1][:, None] > logits[labels == 0][None]).float().mean().item()


def local(start, bags, labels, optimiser, rate):
    model = Attention()
    model.load_state_dict({name: torch.tensor(array) for name, array in zip(model.state_dict(), start)})
    steps, losses = getattr(torch.optim, optimiser)(model.parameters(), lr=rate), []
    for _ in range(3):
        for n in range(len(labels)):
            loss = nn.functional.binary_cross_entropy_with_logits(model(bags[n : n + 1]), labels[n : n + 1])
            steps.zero_grad()
            loss.backward()
            steps.step()
            losses.append(loss.item())
    return [value.numpy() for value in model.state_dict().values()], len(labels), float(np.mean(losses[-len(labels) :]))


def federation(make, optimiser, rate):
    torch.manual_seed(0)
    now, kept = [value.numpy().copy() for value in Attention().state_dict().values()], []
    hospitals = [cohort(slides, seed) for seed, slides in enumerate((20, 40, 80))]
    for _ in range(5):
        told = [local(now, *hospital, optimiser, rate) for hospital in hospitals]
        mean = [np.mean(arrays, 0) for arrays in zip(*(arrays for arrays, _, _ in told))]
        after = together(make(rate), [array.copy() for array in now], told)
        far = [np.sqrt(sum(((a - b) ** 2).sum() for a, b in zip(one, now))) for one in (after, mean)]
        kept.append(float(far[0] / far[1]))
        now = after
    model = Attention()
    model.load_state_dict({name: torch.tensor(array) for name, array in zip(model.state_dict(), now)})
    return auc(model, *cohort(400, 9)), kept


told = [([np.full(1, value, np.float32)], slides, 0.5) for value, slides in ((0, 40), (1, 400), (2, 800))]
plain, zero = (float(together(strategy, [np.zeros(1, np.float32)], [([arrays[0].copy()], slides, loss) for arrays, slides, loss in told])[0][0]) for strategy in (FedAvg(), QFedAvg(client_learning_rate=0.01, q=0)))
print("expected: QFedAvg with q = 0 is FedAvg; with .1, the default, it learns nearly as well")
print(f"seen:     hospitals with 40, 400 and 800 slides send 0, 1 and 2: FedAvg {plain:.3f}, QFedAvg with q = 0 {zero:.3f}")
seen = {}
for optimiser, rate in (("Adam", 1e-4), ("SGD", 1e-2)):
    for name, make in (("FedAvg", lambda rate: FedAvg()), ("q = 0", lambda rate: QFedAvg(rate, q=0)), ("q = .1", lambda rate: QFedAvg(rate))):
        seen[optimiser, name] = score, kept = federation(make, optimiser, rate)
        print(f"seen:     {optimiser} at {rate}, five rounds of three hospitals, {name}: AUC {score:.2f}; size of a round's step, of the hospitals' mean: {' '.join(f'{100 * part:.3g}' for part in kept)} %")
stated = abs(plain - 2000 / 1240) < 1e-4 and abs(zero - 1) < 1e-4 and seen["Adam", "FedAvg"][0] > 0.9 and seen["Adam", "q = 0"][0] > 0.9
stated = stated and max(seen["Adam", "q = .1"][1]) < 0.02 and seen["Adam", "q = .1"][0] < 0.7
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
