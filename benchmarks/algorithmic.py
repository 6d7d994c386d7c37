"""Who keeps to the assumption of multiple-instance learning: the algorithmic tests of Raff and Holt, every model."""

import argparse

import torch

from asmil.models import list_models, model_options
from asmil.study.algorithmic import TESTS, algorithmic_tests


def row(name: str, seeds: int) -> list[str]:
    """By test the verdict of each seed, once where all agree, and the AUROCs of the test bags."""
    small = {"dim": 32} if "dim" in model_options(name) else {}
    found = [algorithmic_tests(name, seed=seed, **small) for seed in range(seeds)]
    cells = []
    for outcomes in zip(*found, strict=True):
        verdicts = dict.fromkeys(outcome.verdict for outcome in outcomes)
        numbers = ", ".join(f"{outcome.test_auroc:.2f}".removeprefix("0") for outcome in outcomes)
        cells.append(f"{' or '.join(verdicts)} ({numbers})")
    return [name, *cells]


def main() -> None:
    """Print a Markdown table, line by line as the models are trained; one thread, so that sums have one order."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--models", nargs="+", choices=list_models(), help="these models only")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"| model | {' | '.join(TESTS)} |\n|{' --- |' * (1 + len(TESTS))}", flush=True)
    for name in arguments.models or list_models():
        print(f"| {' | '.join(row(name, arguments.seeds))} |", flush=True)


if __name__ == "__main__":
    main()
