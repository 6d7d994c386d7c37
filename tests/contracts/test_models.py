"""Every registered model, in each of its variants, keeps the contract of models."""

import json
from pathlib import Path

import pytest

from asmil.models import create_model, list_models, model_info
from asmil.testing import check_model

# A new model is checked with its defaults without being named here; name it to check more of its options, or
# to say which check it cannot keep and why.
VARIANTS: dict[str, list[dict]] = {
    "asmil": [
        {},
        {"variant": "per_token"},
        {"tokens": 2, "heads": 2, "dim": 16},
        {"token_std": 1e-6, "token_drop": 0.9, "feature_dropout": 0.2},
        {"attention_normalizer": "nsf"},
        {"attention_normalizer": "sparsemax"},
        {"attention_normalizer": "entmax"},
    ],
    "abmil": [{}, {"gated": False}, {"dropout": 0.25, "attention_normalizer": "nsf"}],
    "mean": [{}, {"dropout": 0.25}],
    "max": [{}, {"level": "instance"}],
}
EXPECTED_FAILURES: dict[str, dict[str, str]] = {}
for file in sorted((Path(__file__).parent / "variants").glob("*.json")):
    facts = json.loads(file.read_text(encoding="utf-8"))
    VARIANTS[file.stem] = facts["variants"]
    EXPECTED_FAILURES[file.stem] = facts.get("expected_failures", {})
CASES = [(name, options) for name in list_models() for options in VARIANTS.get(name, [{}])]


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_contract(name, options):
    check_model(name, expected_failures=EXPECTED_FAILURES.get(name), **options).raise_if_failed()


@pytest.mark.parametrize("n_classes", [1, 2, 7])
@pytest.mark.parametrize("name", list_models())
def test_contract_at_other_sizes(name, n_classes):
    report = check_model(name, in_dim=5, n_classes=n_classes, seed=3, expected_failures=EXPECTED_FAILURES.get(name))
    if n_classes == 1:  # cross-entropy of a single class is 0, so nothing can learn
        assert set(report.failed) <= {"every_parameter_learns", *EXPECTED_FAILURES.get(name, {})}
    else:
        report.raise_if_failed()


@pytest.mark.parametrize("name", list_models())
def test_every_model_says_what_it_is_and_where_it_is_from(name):
    info = model_info(name)
    assert info.description.endswith(".")
    assert info.paper, f"models/{name}.py has no PAPER"


@pytest.mark.parametrize("name", list_models())
def test_widest_usual_features(name):
    model = create_model(name, in_dim=1536, n_classes=2)
    assert sum(p.numel() for p in model.parameters()) < 20_000_000
