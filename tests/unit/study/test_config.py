"""The settings of a study: defaults, labels, and every mistake at once with its place."""

import pytest

from asmil.bags import DATASETS
from asmil.errors import ConfigError
from asmil.models import MODELS, model_options
from asmil.study import list_arms, load_study

from .conftest import DIGITS, STUDY


def test_names_and_named_options_are_parts(study):
    config = study(STUDY.replace("[mean, abmil]", "[mean, {name: abmil, label: wide, hidden: 256}]"))
    assert [(part.name, part.label, part.options) for part in config.models] == [
        ("mean", "mean", {}),
        ("abmil", "wide", {"hidden": 256}),
    ]
    assert config.datasets[0].options == {"bags": 24, "tiles_per_bag": 6, "positive_share": 0.3}
    assert config.seeds == [0, 1]
    assert config.settings.epochs == 3


def test_arms_are_the_product_but_for_models_without_attention(study):
    names = [arm.name for arm in list_arms(study())]
    assert names == ["digits--mean--none", "digits--abmil--none", "digits--abmil--anchor"]
    only_anchor = study(STUDY.replace("none: null, ", ""))
    assert [arm.name for arm in list_arms(only_anchor)] == ["digits--mean--none", "digits--abmil--anchor"]


@pytest.mark.parametrize(("only", "count"), [("mean", 1), ("digits--abmil*", 2), ("anchor", 1), ("abmil--none", 1)])
def test_arms_are_chosen_by_name(study, only, count):
    assert len(list_arms(study(), only=only)) == count


def test_a_choice_of_no_arm_names_those_there_are(study):
    with pytest.raises(ConfigError, match="digits--abmil--anchor"):
        list_arms(study(), only="transmil")


def test_a_model_of_a_file_is_tried_out(study, tmp_path, monkeypatch):
    file = tmp_path / "mine.py"
    file.write_text(
        "from torch import nn\n\n\nclass Mine(nn.Module):\n    def __init__(self, in_dim, n_classes):\n"
        "        super().__init__()\n        self.head = nn.Linear(in_dim, n_classes)\n\n"
        "    def forward(self, x):\n        return self.head(x.mean(0)).softmax(-1)\n"
    )
    monkeypatch.setenv("ASMIL_TRUST", str(file))
    with pytest.raises(ConfigError, match="gives probabilities, which add up to 1"):
        study(STUDY.replace("[mean, abmil]", f"[mean, {{name: '{file}:Mine', label: mine}}]"))


def test_all_mistakes_are_shown_at_once_with_their_places(study, tmp_path):
    text = """\
datasets: [digitz, {name: digits, bag: 3}]
models:
  - abmill
  - {name: abmil, hiden: 3}
  - {name: abmil, label: none-left, hidden: 0}
stabilizers: {anchor: {betta: 1}, odd: {anchor: emma}}
seed: 3
settings:
  epoch: 3
  batch_size: many
"""
    with pytest.raises(ConfigError) as caught:
        study(text)
    shown = str(caught.value).replace(f"{tmp_path}/", "")
    for expected in (
        "study.yaml:1:12: there is no dataset 'digitz'; did you mean 'digits'?",
        "study.yaml:1:35: dataset 'digits' has no option 'bag'; did you mean 'bags'?",
        "study.yaml:3:5: there is no model 'abmill'; did you mean 'abmil'?",
        "study.yaml:4:19: the model 'abmil' has no option 'hiden'; did you mean 'hidden'?",
        "study.yaml:5:5: abmil needs hidden units",
        "study.yaml:6:24: the stabiliser has no option 'betta'; did you mean 'beta'?",
        "study.yaml:6:40: unknown kind of anchor",
        "study.yaml:7:1: unknown key 'seed'; did you mean 'seeds'?",
        "study.yaml:9:3: unknown key 'settings.epoch'; did you mean 'epochs'?",
        "study.yaml:10:15: settings.batch_size: Input should be a valid integer",
        "10 problems",
    ):
        assert expected in shown


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("epochs: 3", "epochs: 0", "epochs must be at least 1"),
        ("epochs: 3", "learning_rate: -1", "learning_rate must be a number above 0"),
        ("epochs: 3", "learning_rate: 0", "learning_rate must be a number above 0"),
        ("epochs: 3", "tiles_per_bag: 0", "tiles_per_bag must be at least 1"),
        ("epochs: 3", "epochs: true", r"study.yaml:\d+:\d+: epochs: Input should be a number, found True"),
        ("folds: 2", "folds: true", "folds: Input should be a number, found True"),
        ("seeds: 2", "seeds: [true]", "seeds: Input should be a number"),
        ("seeds: 2", "seeds: []", "at least 1 item"),
        ("seeds: 2", "seeds: [1, 1]", "1 is there twice"),
        ("seeds: 2", "seeds: 0", "a count from 1 to 1000, or a list of seeds, found 0"),
        ("seeds: 2", "seeds: 99999999999999999999", "a count from 1 to 1000"),
        ("seeds: 2", "seeds: [99999999999999999999]", "less than 9223372036854775808"),
        ("seeds: 2", "seeds: 2\ndevice: ''", "device: Input should not be empty"),
        ("epochs: 3", "select: ''", "select: Input should not be empty"),
        (DIGITS, "{name: digits, root: ''}", "root of dataset 'digits': Input should not be empty"),
        ("[mean, abmil]", "[mean, {name: max, label: MEAN}]", "mean and MEAN differ in case alone"),
        ("none: null", "Anchor: null, anchor2: null, none: null", "Anchor and anchor differ in case alone"),
        ("[mean, abmil]", f"[{{name: abmil, label: {'a' * 61}}}]", "a label has at most 60 letters.*found 61"),
        ("[mean, abmil]", "[abmil, {name: abmil, hidden: 3}]", "abmil is there twice"),
        ("[mean, abmil]", "[{name: abmil, label: a--b}]", "'a--b' cannot be a label"),
        ("[mean, abmil]", "[{hidden: 3}]", "give a name"),
        ("none: null", "'null': null", "'null' cannot be a label"),
        ("folds: 2", "folds: 1", "greater than or equal to 2"),
        ("models: [mean, abmil]", "", "models must be given"),
        (DIGITS, "{name: digits, label: ../up}", "cannot be a label"),
        (
            DIGITS,
            "{name: own, labels: a.csv, features: f}",
            r"yaml:1:24: the dataset 'own' .* table of labels is `root`",
        ),
    ],
)
def test_what_a_study_cannot_be(study, before, after, expected):
    with pytest.raises(ConfigError, match=expected):
        study(STUDY.replace(before, after))


def test_an_empty_folder_of_a_study_is_not_the_current_one(tmp_path):
    (tmp_path / "study.yaml").write_text(STUDY + "out: ''\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"study\.yaml:7:6: out: Input should not be empty"):
        load_study(tmp_path / "study.yaml")


def test_what_is_no_yaml_is_the_only_problem(study):
    with pytest.raises(ConfigError, match="this is not YAML") as error:
        study("models: [{\n" + STUDY)
    assert "1 problem in" in str(error.value)


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        *((f"beta: {value}", "beta must be a number of at least 0") for value in ("-1", "x", "true", ".nan", "")),
        *((f"start_epoch: {value}", "start_epoch must be a whole number") for value in ("-1", "1.5")),
        ("momentum: true", "momentum must be a number"),
        ("warmup_epochs: x", "warmup_epochs must be a whole number of at least 0, found 'x'"),
        ("max_gradient_ratio: -1", "max_gradient_ratio must be a number above 0"),
        ("temperature: 0", "temperature must be a number above 0"),
        ("reduction: most", "unknown reduction, found 'most'"),
        ("gated: 3", "gated must be true or false"),
        ("normalized: x", "normalized must be true or false"),
        ("mask: 1", "a mask is a tensor or a function"),
        ("tile_dim: x", r"study.yaml:\d+:\d+: tile_dim must be the number of an axis, found 'x'"),
        ("scores: 5", r"study.yaml:\d+:\d+: scores are auto or the name of a submodule, found 5"),
    ],
)
def test_options_of_a_stabiliser_are_refused_before_training(study, option, expected):
    """They failed in training with what Python said, or were taken: half an epoch, a ratio below 0."""
    with pytest.raises(ConfigError, match=expected):
        study(STUDY.replace("none: null", f"none: null, other: {{{option}}}"))


def test_what_fits_no_model_of_a_study_is_named_at_its_place_before_anything_is_trained(study):
    """Where the scores lie depends on the model: each pair is tried, and all that do not fit are named at once."""
    text = STUDY.replace("[mean, abmil]", "[mean, abmil, dsmil]").replace(
        "none: null",
        "none: null, far: {scores: nowhere.here}, one: {scores: query}, axis: {tile_dim: 7}, late: {start_epoch: 2}",
    )
    with pytest.raises(ConfigError) as caught:
        study(text)
    shown = str(caught.value)
    for expected in (
        "study.yaml:3:33: the stabiliser 'far' does not fit abmil: the model has no submodule 'nowhere.here'",
        "study.yaml:3:33: the stabiliser 'far' does not fit dsmil: the model has no submodule 'nowhere.here'",
        "study.yaml:3:62: the stabiliser 'one' does not fit abmil: the model has no submodule 'query'",
        "study.yaml:3:85: the stabiliser 'axis' does not fit abmil: tile_dim is no axis of the scores",
        "5 problems",
    ):
        assert expected in shown
    assert "'late'" not in shown


def test_what_does_not_fit_is_asked_of_the_arms_that_are_trained_alone(study, tmp_path):
    study(
        STUDY.replace("[mean, abmil]", "[mean, abmil, dsmil]").replace(
            "none: null", "none: null, one: {scores: query}"
        ),
        only="dsmil--one",
    )
    with pytest.raises(ConfigError, match="no arm matches"):
        study(only="nothing")


@pytest.mark.parametrize("select", ["val_metric", "val_loss", "val_auroc", "last"])
def test_the_epoch_is_chosen_by_what_classifiers_have(study, select):
    text = STUDY.replace("epochs: 3", f"epochs: 3, select: {select}")
    if select != "val_metric":
        assert study(text).settings.select == select
        return
    with pytest.raises(ConfigError, match=r"study\.yaml:6:23: select: this way to select an epoch is of another task"):
        study(text)


def test_no_option_of_a_part_is_called_as_a_key_of_studies():
    """`name` and `label` say what a part is and is called: an option of that name could not be given."""
    taken = {name: {"name", "label"} & set(DATASETS.options(name)) for name in DATASETS.names()}
    taken |= {name: {"name", "label"} & set(model_options(name)) for name in MODELS.names()}
    assert {name: keys for name, keys in taken.items() if keys} == {}
