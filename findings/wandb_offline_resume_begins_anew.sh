#!/usr/bin/env bash
# What: offline, wandb does not go on with a run that was stopped: `resume` with the run's id opens a second folder, counts steps from 0 again and knows no earlier value.
# Versions: wandb 0.31.0. Seen 2026-11-30.
# Why it matters: on a node without network a training that is resumed at epoch 3 and logs without a step writes epochs 3, 4, ... as steps 0, 1, ... of a second run with the first one's id; who synchronises both folders has two half curves over each other.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'wandb==0.31.0'
cd "$folder"
cat > part.py <<'PYTHON'
import sys

import wandb

private = wandb.Settings(silent=True, console="off", disable_git=True, disable_code=True, x_disable_stats=True, x_disable_meta=True)
run = wandb.init(project="p", id="bag7", resume=sys.argv[1], mode="offline", dir=".", settings=private)
print(run.step, run.summary.get("val_loss"))
for epoch in range(*map(int, sys.argv[2:])):
    run.log({"val_loss": 1 / (epoch + 1)})
run.finish()
PYTHON
export WANDB_MODE=offline HOME="$folder"
first=$(venv/bin/python part.py allow 0 3 | tail -1)
sleep 2
second=$(venv/bin/python part.py must 3 5 | tail -1)
folders=$(find wandb -maxdepth 1 -name 'offline-run-*-bag7' | wc -l)
venv/bin/python -c 'import wandb; print("wandb", wandb.__version__)'
echo "expected: the second part begins at step 3, knows val_loss 0.33, and belongs to one run; or 'must' is refused, as no run can be looked up"
echo "seen:     the first part began at step ${first% *}, the second at step ${second% *} with val_loss ${second#* }, in $folders folders of one id"
test "$first" = "0 None" && test "$second" = "0 None" && test "$folders" = 2 || { echo "no longer as stated"; exit 1; }
