"""The settings of a run: defaults, YAML with places, flags over files, and the way back to YAML."""

import dataclasses
import importlib.util
import inspect
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asmil.attention import AttentionStabilizer
from asmil.errors import ConfigError
from asmil.extraction import ExtractSettings
from asmil.settings import ABOUT, Group, Settings, changed, commented_settings, described, dump_settings, load_settings
from asmil.training import TrainSettings


def _yaml(folder: Path, text: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def _message(folder: Path, text: str, **flags) -> str:
    with pytest.raises(ConfigError) as caught:
        load_settings(_yaml(folder, text), flags)
    return str(caught.value).replace(f"{folder}/", "")


def test_nothing_given_is_all_defaults():
    assert load_settings() == Settings()


def test_an_empty_file_is_all_defaults(tmp_path):
    assert load_settings(_yaml(tmp_path, "# nothing yet\n")) == Settings()


def test_flags_win_over_the_file_and_none_is_not_given(tmp_path):
    config = load_settings(_yaml(tmp_path, "folds: 4\nepochs: 7\n"), {"folds": 3, "epochs": None})
    assert (config.folds, config.epochs) == (3, 7)


def test_a_flag_replaces_a_wrong_value_of_the_file(tmp_path):
    assert load_settings(_yaml(tmp_path, "folds: many\n"), {"folds": 3}).folds == 3


def test_numbers_without_a_dot_are_numbers_and_no_is_text(tmp_path):
    config = load_settings(_yaml(tmp_path, "learning_rate: 2e-4\nlabel: no\npositive: [off, 1, 2026-01-01]\n"))
    assert config.learning_rate == 2e-4
    assert config.label == "no"
    assert config.positive == ["off", "1", "2026-01-01"]


def test_off_and_no_are_false_where_a_switch_is_meant(tmp_path):
    config = load_settings(_yaml(tmp_path, "stabilize: off\nby_site: yes\n"))
    assert (config.stabilize, config.by_site) == (False, True)


@pytest.mark.parametrize(
    ("line", "place"), [("epochs: true", 9), ("mpp: false", 6), ("seeds: true", 8), ("seeds: [true, 2]", 8)]
)
def test_true_and_false_are_no_numbers(tmp_path, line, place):
    """Python counts with them: `epochs: true` would train one epoch."""
    name, found = line.split(": ")
    said = found.replace("true", "True").replace("false", "False")
    assert f"run.yaml:1:{place}: {name}: Input should be a number, found {said}" in _message(tmp_path, line)
    with pytest.raises(ConfigError, match=f"{name}: Input should be a number"):
        load_settings(None, {name: [True, 2] if "[" in line else "true" in line}, flags=False)


@pytest.mark.parametrize("given", [{"epochs": "5"}, {"batch_size": True}, {"learning_rate": None}, {"patience": [3]}])
def test_settings_of_a_training_in_python_are_numbers(given):
    with pytest.raises(ConfigError, match=f"{next(iter(given))} must be a number"):
        TrainSettings(**given)
    assert TrainSettings(epochs=None, batch_size=np.int64(2), learning_rate=np.float32(1e-4)).batch_size == 2


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"learning_rate": -1e-3}, "learning_rate must be a number above 0"),
        ({"learning_rate": 0.0}, "learning_rate must be a number above 0"),
        ({"learning_rate": float("inf")}, "learning_rate must be a number above 0"),
        ({"learning_rate": float("nan")}, "learning_rate must be a number above 0"),
        ({"weight_decay": -1}, "weight_decay must be at least 0"),
        ({"data_seed": -1}, "data_seed must be at least 0"),
        ({"tile_dropout": "0.5"}, "tile_dropout must be a number"),
    ],
)
def test_a_training_of_numbers_that_it_cannot_have_is_refused(given, says):
    with pytest.raises(ConfigError, match=says):
        TrainSettings(**given)


def test_one_positive_class_needs_no_list(tmp_path):
    assert load_settings(_yaml(tmp_path, "positive: tumour\n")).positive == ["tumour"]


@pytest.mark.parametrize(("seeds", "expected"), [("3", [0, 1, 2]), ("[4, 9]", [4, 9])])
def test_seeds_are_a_count_or_a_list(tmp_path, seeds, expected):
    assert load_settings(_yaml(tmp_path, f"seeds: {seeds}\n")).seed_list == expected


def test_numbers_of_numpy_are_kept_as_plain_ones():
    given = {"seeds": np.array([4, 9]), "model_options": {"dim": np.int64(8)}, "classes": np.array(["a", "b"])}
    settings = load_settings(None, given, flags=False)
    assert settings.model_dump(mode="json")["model_options"] == {"dim": 8}
    assert (settings.seed_list, settings.classes) == ([4, 9], ["a", "b"])


def test_a_name_of_digits_keeps_its_zeros(tmp_path):
    settings = load_settings(_yaml(tmp_path, "label: 010\nclasses: [01, 02]\nlearning_rate: 0.5\n"))
    assert (settings.label, settings.classes, settings.learning_rate) == ("010", ["01", "02"], 0.5)


def test_a_seed_is_one_that_torch_takes(tmp_path):
    with pytest.raises(ConfigError, match="less than 9223372036854775808"):
        load_settings(_yaml(tmp_path, f"seeds: [{2**70}]\n"))


def test_every_problem_is_shown_at_once_in_the_order_of_the_file(tmp_path):
    text = "tile_pix: 224\nfolds: 3\nfolds: 4\nanchor: emma\nepochs: 0\n"
    message = _message(tmp_path, text, beta=-1.0)
    places = ["run.yaml:1:1", "run.yaml:3:1", "run.yaml:4:9", "run.yaml:5:9", "--beta"]
    assert [message.index(place) for place in places] == sorted(message.index(place) for place in places)
    assert "did you mean 'tile_px'?" in message
    assert "'folds' is given twice" in message
    assert "'ema' or 'frozen', found 'emma'" in message
    assert "5 problems" in message


def test_the_caret_stands_under_the_mistake(tmp_path):
    lines = _message(tmp_path, "slides: data\nanchor: emma  # typo\n").splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("  2 | "))
    assert lines[at][lines[at + 1].index("^")] == "e"
    assert lines[at] == "  2 | anchor: emma  # typo"


def test_the_place_inside_a_list_is_found(tmp_path):
    assert "run.yaml:3:5: seeds: Input should be a valid integer" in _message(tmp_path, "seeds:\n  - 1\n  - x\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("slides: [a\nfolds: 3\n", "run.yaml:2:6: this is not YAML"),
        ("- a\n- b\n", "run.yaml:1:1: a configuration is a list of `key: value` lines"),
        ("just text\n", "run.yaml:1:1: a configuration is a list"),
        ("model_options: &a {self: *a}\n", "this value contains itself"),
        ("? [a, b]\n: 3\n", "run.yaml:1:3: a key must be a word"),
        ("features: ''\n", "run.yaml:1:11: features: Input should not be empty"),
        ("device: gpu\n", "'cuda:<number>', found 'gpu'"),
        ("mpp: .nan\n", "run.yaml:1:6: mpp"),
        ("seeds: []\n", "run.yaml:1:8: seeds"),
        ("model_options: {a: 1, a: 2}\n", "run.yaml:1:23: 'a' is given twice"),
    ],
)
def test_a_file_that_is_not_settings_says_where(tmp_path, text, expected):
    assert expected in _message(tmp_path, text)


def test_settings_that_contradict_each_other():
    with pytest.raises(ConfigError, match="overlap_px \\(224\\) must be less than tile_px"):
        load_settings(None, {"overlap_px": 224})
    with pytest.raises(ConfigError, match="slide_mpp or objective, not both"):
        load_settings(None, {"slide_mpp": 0.5, "objective": 20})


def test_a_missing_file_and_a_binary_file(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        load_settings(tmp_path / "none.yaml")
    (tmp_path / "run.yaml").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ConfigError, match="cannot read"):
        load_settings(tmp_path / "run.yaml")


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
WORDS = st.sampled_from(["no", "2e-4", "1", "null", "true", "~", "0x10", "1:30", "2026-01-01", "a: b", "#", " x "])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT | WORDS, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(
    options=st.dictionaries(TEXT | WORDS, JSON, max_size=4),
    positive=st.lists(TEXT | WORDS, max_size=3),
    label=TEXT.filter(str.strip) | WORDS,
    learning_rate=st.floats(1e-12, 1e3),
    seeds=st.integers(1, 99) | st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=4),
)
def test_dumped_settings_load_back_equal(tmp_path_factory, options, positive, label, learning_rate, seeds):
    config = Settings(
        slides=Path("a b/ü"),
        model_options=options,
        positive=positive,
        label=label,
        learning_rate=learning_rate,
        seeds=seeds,
    )
    path = tmp_path_factory.mktemp("dump") / "config.yaml"
    dump_settings(config, path)
    assert load_settings(path) == config


def test_the_file_to_fill_in_is_the_defaults_as_it_is_and_without_its_marks(tmp_path):
    text = commented_settings()
    assert load_settings(_yaml(tmp_path, text)) == Settings()
    assert load_settings(_yaml(tmp_path, text + "preset: paper\n")) == Settings(preset="paper")
    given = re.sub(r"(?m)^#(?=\w)", "", text)
    assert load_settings(_yaml(tmp_path, given)) == Settings()
    assert load_settings(_yaml(tmp_path, given)).model_fields_set == set(ABOUT)
    for name, about in ABOUT.items():
        said = re.search(rf"(?m)^# (.+)\n#{name}: ", text)[1]
        assert said.startswith(f"{about.sentence} (")
        assert said.endswith(f"; {about.unit})" if about.unit else ")")
    assert "(list of text)\n#positive: []" in text
    assert "(ema | frozen)\n#anchor: ema" in text
    assert "(integer, at least 1; px)\n#tile_px: 224" in text


def test_importing_the_settings_imports_no_torch():
    code = "from asmil.settings import Settings; import sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_defaults_are_those_of_the_parts_that_take_them():
    """The command line and the API must not train differently by default."""
    for part, except_ in ((TrainSettings, ()), (ExtractSettings, ("mpp", "tile_px", "min_tissue"))):
        given = Settings().fields_of(part)
        for field in dataclasses.fields(part):
            if field.name in given and field.name not in except_:
                value = given[field.name]
                assert (tuple(value) if isinstance(value, list) else value) == field.default, field.name
    options = {p.name: p.default for p in inspect.signature(AttentionStabilizer).parameters.values()}
    for name, value in Settings().of(Group.STABILISER).items():
        assert value == options[name], name


def test_every_setting_says_what_it_is():
    for about in ABOUT.values():
        assert about.sentence.endswith("."), about.name
        assert about.sentence[0] == about.sentence[0].upper() or about.sentence.split(" ")[0].strip(",") in OWN_WORDS
        assert isinstance(about.group, Group)
    assert {about.decides for about in ABOUT.values()} == {"features", "training", "content", "evaluation", "nothing"}
    assert set(Group) == {about.group for about in ABOUT.values()}


OWN_WORDS = {"auto", "fp32", "ema", "copy", "sum"}
"""Values with which a sentence may begin."""


def test_a_setting_is_an_option_of_the_run_by_its_name_and_its_sentence():
    from asmil.cli import _load

    options = {option.name: option for option in _load("run").params if option.param_type_name == "option"}
    assert options.keys() - {"print_config", "quiet", "verbose", "as_json"} == ABOUT.keys() - {"shard"}
    for name, option in ((name, option) for name, option in options.items() if name in ABOUT):
        assert option.help.startswith(ABOUT[name].sentence)
        assert option.opts[0] in (f"--{name.replace('_', '-')}", f"--{name.replace('_', '-')[:-1]}")
        if ABOUT[name].default not in (None, [], {}):
            assert option.help.endswith(f"[{str(ABOUT[name].default).lower()}]".replace("runs/run", "runs/run")), name


def test_the_table_of_settings_in_the_docs_is_written_from_them():
    spec = importlib.util.spec_from_file_location("hooks", Path(__file__).parents[3] / "docs" / "hooks.py")
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    page = hooks.settings_page()
    assert [line.split("`")[1] for line in page.splitlines()[2:]] == list(ABOUT)
    assert "| `tile_px` | Side of a tile in pixels at --mpp. | 224 px | features |" in page
    assert "<!-- settings -->" in (Path(__file__).parents[3] / "docs" / "cli.md").read_text()


def test_described_is_what_a_page_shows():
    rows = {row.name: row for row in described(Settings(features="a/b", tile_px=96))}
    assert list(rows) == list(ABOUT)
    assert rows["features"].value == "a/b"
    assert (rows["tile_px"].value, rows["tile_px"].unit, rows["tile_px"].is_default) == (96, "px", False)
    assert (rows["mpp"].value, rows["mpp"].unit, rows["mpp"].is_default) == (0.5, "um/px", True)


def test_settings_are_shown_by_what_is_not_the_default():
    assert repr(Settings()) == "Settings()"
    assert repr(Settings(features="a/b", folds=3)) == str(Settings(features="a/b", folds=3))
    assert repr(Settings(features="a/b", folds=3)) == "Settings(features='a/b', folds=3)"


def test_a_setting_that_has_ended_is_refused_and_passed_over_in_a_saved_run(tmp_path):
    text = "folds: 3\ntogether: off\n"
    assert "run.yaml:2:1: 'together' has ended: the seeds of a fold always train" in _message(tmp_path, text)
    assert load_settings(_yaml(tmp_path, text), saved=True) == Settings(
        folds=3, min_steps=0, restarts=0, anchor_gated=False
    )
    with pytest.raises(ConfigError, match="--together: 'together' has ended"):
        load_settings(None, {"together": "on"})


def test_changed_settings_are_checked_again_and_keep_what_was_given():
    settings = changed(Settings(features="a", folds=3), {"folds": 4, "epochs": None})
    assert settings == Settings(features="a", folds=4)
    assert settings.model_fields_set == {"features", "folds"}
    with pytest.raises(ConfigError, match="overlap_px"):
        changed(settings, {"overlap_px": 300})


@pytest.mark.parametrize(
    "text",
    [
        "tile_px: !!int ''\n",
        "tile_px: !!timestamp x\n",
        "slides: a\x01b\n",
        f"positive: {'[' * 3000}\n",
        "a: &a [1, 2, 3, 4, 5, 6, 7, 8]\n"
        + "".join(
            f"{new}: &{new} [{', '.join([f'*{old}'] * 8)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
        ),
    ],
    ids=["int", "timestamp", "control", "deep", "aliases"],
)
def test_what_breaks_the_parser_is_an_error_of_the_file(tmp_path, text):
    assert "run.yaml" in _message(tmp_path, text)


def test_thousands_of_unknown_keys_are_counted_and_the_first_are_shown(tmp_path):
    message = _message(tmp_path, "".join(f"key_{i}: 1\n" for i in range(3000)))
    assert message.count("unknown key") == 20
    assert "3000 problems" in message


@pytest.mark.parametrize("text", ["model: " + "x" * 10_000_000, "".join(f"k{i}: 1\n" for i in range(30_000))])
def test_a_file_that_is_far_too_long_for_settings_is_refused_at_once(text, tmp_path):
    (tmp_path / "a.yaml").write_text(text)
    start = time.monotonic()
    with pytest.raises(ConfigError, match=r"too long for settings.*over 131,072 characters"):
        load_settings(tmp_path / "a.yaml")
    assert time.monotonic() - start < 60


def test_of_a_long_line_the_place_of_the_mistake_is_shown(tmp_path):
    (tmp_path / "a.yaml").write_text("{folds: 2," + " " * 3000 + "here: 1," + " " * 3000 + "}\n")
    with pytest.raises(ConfigError) as error:
        load_settings(tmp_path / "a.yaml")
    lines = str(error.value).splitlines()
    shown, caret = lines[1], lines[2]
    assert len(shown) < 200
    assert shown[caret.index("^") :].startswith("here")
