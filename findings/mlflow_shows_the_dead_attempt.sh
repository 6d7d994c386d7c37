#!/usr/bin/env bash
# What: after a resume MLflow's value of a metric is that of the attempt that died, where it had come further.
# Versions: mlflow 3.17.2. Seen 2026-11-29.
# Why it matters: "latest" is the largest step, not what was logged last. A training that is resumed from an earlier checkpoint and stops early is listed, sorted and found by a number
# of weights that no longer exist.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'mlflow==3.17.2'
cd "$folder"
venv/bin/python - <<'PYTHON'
import logging
import os

logging.disable(logging.WARNING)
os.environ["MLFLOW_ENABLE_ASYNC_LOGGING"] = "false"
import mlflow

print("mlflow", mlflow.__version__)
mlflow.set_tracking_uri("sqlite:///tracked.db")
experiment = mlflow.set_experiment("slides").experiment_id
with mlflow.start_run() as run:
    for epoch in range(10):  # the job is lost after epoch 9; the last checkpoint is of epoch 5
        mlflow.log_metric("val_auroc", 0.60 if epoch > 5 else 0.70, step=epoch)
with mlflow.start_run(run_id=run.info.run_id):
    for epoch in (6, 7):  # resumed from epoch 5, stopped early at 7
        mlflow.log_metric("val_auroc", 0.90, step=epoch)
client = mlflow.MlflowClient()
shown = client.get_run(run.info.run_id).data.metrics["val_auroc"]
logged = [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, "val_auroc")]
found = client.search_runs([experiment], "metrics.val_auroc > 0.8")
print("expected: .9, logged last; the run is found by 'val_auroc > 0.8'")
print(f"seen:     {shown}; found: {len(found)} runs; the history holds both attempts: {logged[-4:]}")
raise SystemExit(0 if shown == 0.60 and not found else "no longer as stated")
PYTHON
