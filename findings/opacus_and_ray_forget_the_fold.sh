#!/usr/bin/env bash
# What: a loader whose sampler draws the 80 training slides of a fold out of a data set of 100 is made private by Opacus, or shared between two processes by Ray Train. Both make a new loader over the whole data set: the 20 test slides are drawn as often as the others. A sampler that balances classes is left out in the same way. accelerate keeps the 80.
# Versions: opacus 1.6.0, ray 2.60.0, accelerate 1.15.0, torch 2.13.0. Seen 2026-12-01.
# Why it matters: `SubsetRandomSampler` of a fold's rows is how many codes for MIL do cross-validation, since the features are one data set. The model is tested on what it was trained on, no message is given, and the number looks better. Use `torch.utils.data.Subset`.
# Of Opacus it is known for weighted samplers: https://github.com/meta-pytorch/opacus/issues/600; its documentation says that all is kept "except for sampling mechanism".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'torch==2.13.0' 'opacus==1.6.0' 'ray[train]==2.60.0' 'accelerate==1.15.0' 'numpy==2.4.6'
cd "$folder"
cat > fold.py <<'PYTHON'
import torch
from torch.utils.data import DataLoader, Dataset, SubsetRandomSampler, WeightedRandomSampler


class Slides(Dataset):
    def __len__(self):
        return 100

    def __getitem__(self, index):
        return torch.zeros(1), torch.tensor(index)


def loaders():
    yield "fold", DataLoader(Slides(), batch_size=1, sampler=SubsetRandomSampler(range(80)))
    yield "balanced", DataLoader(Slides(), batch_size=1, sampler=WeightedRandomSampler([1.0] * 10 + [0.0] * 90, 100))


def drawn(loader, epochs):
    return [int(index) for _ in range(epochs) for _, indices in loader for index in indices]
PYTHON
cat > private.py <<'PYTHON'
import json
import warnings

warnings.filterwarnings("ignore", message="Secure RNG")
import torch
from fold import drawn, loaders
from opacus import PrivacyEngine

for name, loader in loaders():
    torch.manual_seed(0)
    model = torch.nn.Linear(1, 1)
    _, _, loader = PrivacyEngine().make_private(module=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1), data_loader=loader, noise_multiplier=1.0, max_grad_norm=1.0)
    with open(f"opacus_{name}_0", "w") as file:
        json.dump(drawn(loader, 10), file)
PYTHON
cat > shared.py <<'PYTHON'
import json
import os
import sys

here, two = os.getcwd(), 2


def work(config):
    sys.path.insert(0, config["here"])
    import ray.train
    import ray.train.torch
    from fold import drawn, loaders

    for name, loader in loaders():
        loader = ray.train.torch.prepare_data_loader(loader)
        with open(f"{config['here']}/ray_{name}_{ray.train.get_context().get_world_rank()}", "w") as file:
            json.dump(drawn(loader, 10), file)


if __name__ == "__main__":
    import ray
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    ray.init(num_cpus=two, include_dashboard=False, log_to_driver=False, object_store_memory=80 * 2**20, _temp_dir=f"{here}/r")
    TorchTrainer(work, train_loop_config={"here": here}, scaling_config=ScalingConfig(num_workers=two), run_config=RunConfig(storage_path=f"{here}/kept")).fit()
PYTHON
cat > accelerated.py <<'PYTHON'
import json

from accelerate import Accelerator
from fold import drawn, loaders

accelerator = Accelerator(cpu=True)
name, loader = next(iter(loaders()))
with open(f"accelerate_{name}_{accelerator.process_index}", "w") as file:
    json.dump(drawn(accelerator.prepare(loader), 10), file)
PYTHON
export OMP_NUM_THREADS=1 HOME="$folder" RAY_AUTH_MODE=disabled RAY_USAGE_STATS_ENABLED=0
for step in 'venv/bin/python private.py' 'venv/bin/python shared.py' 'venv/bin/torchrun --nproc_per_node 2 accelerated.py'; do
  $step > said 2>&1 || { cat said >&2; exit 1; }
done
venv/bin/python - <<'PYTHON'
import glob
import json

print("expected: only the first 80 slides of 100, and only the first 10 where the others have the weight 0")
seen = {}
for what in ("opacus_fold", "opacus_balanced", "ray_fold", "ray_balanced", "accelerate_fold"):
    indices = [index for path in glob.glob(f"{what}_*") for index in json.load(open(path))]
    left_out = sum(index >= (10 if "balanced" in what else 80) for index in indices)
    seen[what] = len(set(indices)), left_out / len(indices)
    print(f"seen:     {what.replace('_', ', '):16s} {seen[what][0]:3d} slides; {100 * seen[what][1]:.0f} % of {len(indices)} draws are of slides that were left out")
stated = all(seen[f"{who}_{what}"][0] == 100 and abs(seen[f"{who}_{what}"][1] - part) < 0.05 for who in ("opacus", "ray") for what, part in (("fold", 0.2), ("balanced", 0.9)))
raise SystemExit(0 if stated and seen["accelerate_fold"] == (80, 0) else "no longer as stated")
PYTHON
