"""Settings as files: `asmil init` writes one, run and crossval read it, and say what they would do."""

import pytest

from asmil.settings import Settings, load_settings


def test_init_writes_what_run_and_crossval_read_and_never_over_a_file(asmil, tmp_path):
    file = tmp_path / "new" / "mine.yaml"
    assert f"asmil run {file}" in asmil("init", file)
    before = file.read_text(encoding="utf-8")
    assert load_settings(file) == Settings()
    assert "is there already" in asmil("init", file, code=2)
    assert file.read_text(encoding="utf-8") == before


@pytest.mark.parametrize("command", ["run", "crossval"])
def test_print_config_is_what_would_be_used_and_touches_nothing(asmil, tmp_path, command):
    (tmp_path / "a.yaml").write_text("folds: 4\nepochs: 7\npreset: paper\n", encoding="utf-8")
    out = tmp_path / "run"
    shown = asmil(command, tmp_path / "a.yaml", "--folds", 3, "--out", out, "--print-config")
    (tmp_path / "shown.yaml").write_text(shown, encoding="utf-8")
    assert load_settings(tmp_path / "shown.yaml") == Settings(preset="paper", folds=3, epochs=7, out=out)
    assert not out.exists()
    assert "--folds" in asmil(command, "--folds", 1, "--print-config", code=2)


def test_crossval_takes_its_settings_from_a_file(asmil, crossval_of, tmp_path):
    command, *flags = crossval_of(tmp_path)
    (tmp_path / "a.yaml").write_text("seeds: 2\nepochs: 1\n", encoding="utf-8")
    shown = asmil(command, tmp_path / "a.yaml", *flags, "--out", tmp_path / "run", "--print-config")
    assert "epochs: 2\n" in shown
    assert "seeds: 1\n" in shown
