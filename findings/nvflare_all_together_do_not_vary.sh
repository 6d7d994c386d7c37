#!/usr/bin/env bash
# What: NVFlare's federated statistics round what each site has to add to the variance to 4 decimals before it is added, and take the root of the sum. Five hospitals each with a deviation of .0150 have 0 together. A feature of 1,024-wide vectors of length 1 has .0298 here, .0316 over ten hospitals, .0224 over 20 and 0 over 40. Counts of a histogram are joined by limits that are rounded to 4 decimals (whatever `precision` says), so bins that are alike then are each given the sum: some 1,330 slides where there are 1,000, by which site answers first.
# Versions: nvflare 2.9.0. Seen 2026-12-01.
# Why it matters: features are scaled by the pooled deviation, and shares of tumour, features of length 1 and attention are small numbers. Dividing by 0 makes them infinite; a feature that "does not vary" is dropped. The documentation calls precision the number of decimals of the results. Nothing like it was found reported. Source: accumulate_metrics, get_global_stats and accumulate_hists in nvflare/app_common/statistics/numeric_stats.py.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'nvflare==2.9.0' 'numpy==2.4.6' 'pandas==2.3.3'
cd "$folder"
cat > slides.py <<'PYTHON'
import numpy as np
import pandas as pd
from nvflare.app_opt.statistics.df.df_core_statistics import DFStatisticsCore

generator = np.random.default_rng(0)
vectors = generator.normal(size=(1000, 1024))
vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
COHORT = pd.DataFrame({"tumour": np.tile([0, 0.03], 500), "feature": vectors[:, 0], "attention": generator.uniform(0, 0.0005, 1000)})


class Slides(DFStatisticsCore):
    def __init__(self, hospitals):
        super().__init__()
        self.hospitals = hospitals

    def initialize(self, fl_ctx):
        self.share(int(fl_ctx.get_identity_name().split("-")[-1]))

    def share(self, number):
        of_the_pairs = (np.arange(1000) // 2) % self.hospitals == number - 1
        self.data = {"slides": COHORT[of_the_pairs]}
        return self
PYTHON
cat > trial.py <<'PYTHON'
import json
import pathlib

from nvflare.app_common.statistics.numeric_stats import get_global_stats
from nvflare.recipe.fedstats import FedStatsRecipe
from nvflare.recipe.sim_env import SimEnv

from slides import COHORT, Slides

sites = [f"site-{number}" for number in range(1, 6)]
wanted = {"count": {}, "sum": {}, "mean": {}, "stddev": {}, "histogram": {"*": {"bins": 10}, "tumour": {"bins": 10, "range": [0, 0.05]}, "attention": {"bins": 10, "range": [0, 0.0005]}}}
recipe = FedStatsRecipe(name="statistics", stats_output_path="statistics.json", sites=sites, statistic_configs=wanted, stats_generator=Slides(5))
recipe.execute(SimEnv(clients=sites, num_threads=2, workspace_root=str(pathlib.Path("workspace").absolute())))
result = json.loads(next(pathlib.Path("workspace").rglob("statistics.json")).read_text())


def over(hospitals):  # the two rounds of the controller, without its messages
    each = [Slides(hospitals).share(number) for number in range(1, hospitals + 1)]
    gather = lambda what: {f"site-{i}": {"slides": {"feature": what(site)}} for i, site in enumerate(each)}
    told = get_global_stats({}, {"count": gather(lambda site: int(site.count("slides", "feature"))), "sum": gather(lambda site: site.sum("slides", "feature")), "mean": gather(lambda site: 0.0)}, "fed_stats_1st_statistics", {})
    mean, count = told["mean"]["slides"]["feature"], told["count"]["slides"]["feature"]
    told = get_global_stats(told, {"var": gather(lambda site: site.variance_with_mean("slides", "feature", mean, count)), "stddev": gather(lambda site: 0.0)}, "fed_stats_2nd_statistics", {})
    return told["stddev"]["slides"]["feature"]


deviations = {site: value["slides"] for site, value in result["tumour"]["stddev"].items()}
slides = {site: sum(bin[2] for bin in value["slides"]) for site, value in result["attention"]["histogram"].items()}
by_hospitals = {hospitals: over(hospitals) for hospitals in (1, 10, 20, 40)}
print(f"expected: share of tumour, deviation of all {COHORT.tumour.std():.4f}; a feature {COHORT.feature.std():.4f}; histogram of attention: 200 slides of each hospital, 1000 of all")
print(f"seen:     share of tumour, deviation of each hospital {sorted(value for site, value in deviations.items() if site != 'Global')}, of all {deviations['Global']}")
print(f"seen:     a feature of vectors of length 1, over 1, 10, 20 and 40 hospitals: {list(by_hospitals.values())}; by the whole run over 5: {result['feature']['stddev']['Global']['slides']}")
print(f"seen:     slides in the histogram of attention: {[count for site, count in slides.items() if site != 'Global']}, of all {slides['Global']}")
stated = deviations["Global"] == 0 and min(deviations[site] for site in sites) > 0.014 and by_hospitals[40] == 0 and by_hospitals[20] < 0.025 and abs(by_hospitals[10] - 0.0316) < 1e-4
raise SystemExit(0 if stated and slides["Global"] > 1100 and all(slides[site] == 200 for site in sites) else "no longer as stated")
PYTHON
OMP_NUM_THREADS=1 venv/bin/python trial.py > said 2>&1 || { tail -25 said >&2; exit 1; }
grep -aE '^(expected|seen):' said
