#!/usr/bin/env bash
# What: Flower's secure aggregation (SecAgg+) cuts what is beyond 8 (`clipping_range`), and it cuts not the parameters but the parameters times the number of slides over `max_weight`, 1,000. A hospital with 800 slides has its values cut at 10, one with 400 at 20, one with 40 not below 200. Three hospitals that send the same model get another one back: of 20 comes 13.5, of 100 16.1, of 1,000 40.
# Versions: flwr 1.42.0 (with its simulation). Seen 2026-12-01.
# Why it matters: BatchNorm's variances and its count of batches are sent with the weights, and features of tile encoders have variances of tens and hundreds. The largest hospital's are cut first. Nothing is logged. The documentation says that parameters are clipped to [-clipping_range, clipping_range]; that nothing above 8 comes out right was remarked in 2025 on an example, https://github.com/flwrlabs/flower/pull/4982. Source: `_collect_masked_vectors` in secaggplus_mod.py multiplies before `quantize` clips.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'flwr[simulation]==1.42.0' 'numpy==2.4.6'
cd "$folder"
cat > trial.py <<'PYTHON'
import numpy as np
import flwr
from flwr.client import ClientApp, NumPyClient
from flwr.client.mod import secaggplus_mod
from flwr.common import ndarrays_to_parameters
from flwr.server import LegacyContext, ServerApp, ServerConfig
from flwr.server.strategy import FedAvg
from flwr.server.workflow import DefaultWorkflow, SecAggPlusWorkflow

WEIGHTS = np.array([0.5, -0.5, 7.9], dtype=np.float32)
VARIANCES = np.array([1.0, 9.0, 20.0, 100.0, 1000.0], dtype=np.float32)
SLIDES = (40, 400, 800)
came_back = {}


def hospital(context):
    slides = SLIDES[int(context.node_config["partition-id"])]

    class Hospital(NumPyClient):
        def fit(self, parameters, config):
            return [WEIGHTS, VARIANCES], slides, {}

    return Hospital().to_client()


def look(round_number, parameters, config):
    if round_number:
        came_back["weights"], came_back["variances"] = parameters
    return 0.0, {}


server = ServerApp()


@server.main()
def main(grid, context):
    start = ndarrays_to_parameters([np.zeros_like(WEIGHTS), np.ones_like(VARIANCES)])
    strategy = FedAvg(initial_parameters=start, min_fit_clients=3, min_available_clients=3, fraction_evaluate=0, evaluate_fn=look)
    workflow = DefaultWorkflow(fit_workflow=SecAggPlusWorkflow(num_shares=3, reconstruction_threshold=2))
    workflow(grid, LegacyContext(context=context, config=ServerConfig(num_rounds=1), strategy=strategy))


flwr.simulation.run_simulation(server_app=server, client_app=ClientApp(client_fn=hospital, mods=[secaggplus_mod]), num_supernodes=3, backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0}})
total = sum(SLIDES)
by_hand = [sum(min(n / 1000 * value, 8) for n in SLIDES) / (total / 1000) for value in VARIANCES]
print(f"expected: three hospitals send the same, so the mean is that: weights {WEIGHTS.tolist()}, variances {VARIANCES.tolist()}")
print(f"seen:     weights {np.round(came_back['weights'], 3).tolist()}, variances {np.round(came_back['variances'], 2).tolist()}")
print(f"          by hand, each cut at 8 after it was multiplied by slides / 1000: {np.round(by_hand, 2).tolist()}")
stated = np.allclose(came_back["weights"], WEIGHTS, atol=1e-3) and np.allclose(came_back["variances"], by_hand, rtol=1e-3) and came_back["variances"][2] < 14
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
OMP_NUM_THREADS=1 venv/bin/python trial.py 2> said || { tail -20 said >&2; exit 1; }
