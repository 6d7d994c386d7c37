"""What the commands say of tables and leaks: the same rule in check, crossval and predict."""

import h5py
import numpy as np
import pandas as pd
import pytest


def write(path, features):
    with h5py.File(path, "w") as file:
        file["features"] = features
        file["coords"] = np.arange(2 * len(features)).reshape(-1, 2) * 256
        file.attrs.update(format="asmil", encoder="synthetic")


@pytest.fixture
def cohort(tmp_path):
    """Sixteen slides of eight patients; columns that are recognised by their letters."""
    rng = np.random.default_rng(0)
    (tmp_path / "features").mkdir()
    bags = {f"S{i:02d}": rng.normal(size=(40, 16)).astype(np.float32) for i in range(16)}
    for name, bag in bags.items():
        write(tmp_path / "features" / f"{name}.h5", bag)
    people = [f"P{i // 2}" for i in range(16)]
    table = pd.DataFrame(
        {"Slide": list(bags), "Patient ID": people, "label": ["benign", "benign", "Tumour", "Tumour"] * 4}
    )
    table.to_csv(tmp_path / "labels.csv", index=False)
    return tmp_path, bags


def crossval(folder, *more):
    given = {"features": folder / "features", "labels": folder / "labels.csv", "out": folder / "run", "model": "abmil"}
    given |= {"folds": 2, "seeds": 1, "epochs": 2, "min-steps": 1, "workers": 1}
    return ["crossval", *(text for name, value in given.items() for text in (f"--{name}", value)), *more]


def test_how_the_tables_were_understood_is_printed_first(cohort, asmil):
    folder, _ = cohort
    lines = asmil(*crossval(folder)).splitlines()
    assert lines[0] == "note: tables: slide = Slide, patient = Patient ID, label = label, site = none"
    assert lines[1].startswith(
        "note: cohort: 16 slides of 8 patients; classes benign (8 slides, 4 patients), Tumour (8"
    )
    assert "positive is Tumour" in lines[1]
    assert lines[2] == "note: tiles: 640 of 16 slides (40 to 40), 16 features"


def test_flags_answer_what_is_asked(cohort, asmil):
    folder, _ = cohort
    table = pd.read_csv(folder / "labels.csv").rename(columns={"Patient ID": "Hospital number"})
    table.assign(**{"Hospital number": [20000 + i // 2 for i in range(16)]}).to_csv(folder / "labels.csv", index=False)
    said = asmil(*crossval(folder), code=2)
    assert "column 'Hospital number' may name the patients, and is not used" in said
    assert not (folder / "run").exists()
    said = asmil(*crossval(folder, "--case-column", "hospital_number", "--classes", "Tumour,benign"))
    assert "16 slides of 8 patients; classes Tumour (8" in said
    assert "positive is benign (named so" in said
    settings = {"features": folder / "features", "labels": folder / "labels.csv", "folds": 2, "case_column": "Slide"}
    (folder / "s.yaml").write_text("".join(f"{name}: {value}\n" for name, value in settings.items()))
    assert "16 slides of 16 patients" in asmil("check", folder / "s.yaml")


@pytest.mark.parametrize("change", [lambda bag: bag, lambda bag: bag[::-1][4:].astype(np.float16)])
def test_the_same_slide_of_two_patients_is_refused_by_every_command(change, cohort, asmil):
    folder, bags = cohort
    write(folder / "features" / "again.h5", change(bags["S01"]))
    table = pd.read_csv(folder / "labels.csv")
    for number, label in enumerate(["benign", "Tumour"] * 2):  # in some fold the two are apart
        write(folder / "features" / f"more{number}.h5", np.random.default_rng(50 + number).normal(size=(40, 16)))
        table.loc[len(table)] = [f"more{number}", f"Q{number}", label]
    table.loc[len(table)] = ["again", "Q9", "benign"]
    table.to_csv(folder / "labels.csv", index=False)
    given = ["--features", folder / "features", "--labels", folder / "labels.csv", "--folds", 3]
    found = asmil("check", *given, code=1)
    assert "slides of the same content are in different parts of a fold" in " ".join(found.split())
    found = asmil(*crossval(folder, "--folds", 3), code=2)
    assert "S01 and again (100% of the tiles)" in found
    assert not (folder / "run" / "folds").exists()
    asmil("check", *given, "--allow-duplicates")
    assert "keep one of each two" in asmil(*crossval(folder, "--folds", 3, "--allow-duplicates"))


def test_a_cropped_slide_of_the_run_is_known_by_predict(cohort, asmil):
    folder, bags = cohort
    asmil(*crossval(folder))
    (folder / "new").mkdir()
    write(folder / "new" / "renamed.h5", bags["S03"][6:][::-1].astype(np.float16))
    noise = 0.1 * np.random.default_rng(1).normal(size=(40, 16)).astype(np.float32)
    write(folder / "new" / "compressed.h5", bags["S05"] + noise)
    write(folder / "new" / "other.h5", np.random.default_rng(99).normal(size=(40, 16)).astype(np.float32))
    said = asmil("predict", folder / "run", "--features", folder / "new", "--out", folder / "found")
    assert "3 slides, by the names of their files (no table is read); benign, Tumour" in said
    table = pd.read_csv(folder / "found" / "predictions.csv").set_index("slide")["in_cohort_as"]
    assert table["renamed"] == "S03"
    assert table["compressed"] == "S05"
    assert pd.isna(table["other"])


def test_check_takes_the_line_of_run_and_names_the_flag_of_a_column_it_lacks(cohort, asmil):
    folder, _ = cohort
    given = ["--features", folder / "features", "--labels", folder / "labels.csv", "--folds", 2]
    asmil("check", *given, "--tile-px", 32, "--encoder", "colour-texture", "--bootstrap", 20, "--out", folder / "run")
    assert not (folder / "run").exists()
    assert "To fix: name the label column with --label." in asmil("check", *given, "--label", "Grading", code=1)


def test_check_names_many_rows_of_one_reason_in_a_line_and_all_in_a_table(cohort, asmil):
    folder, _ = cohort
    table = pd.read_csv(folder / "labels.csv")
    more = pd.DataFrame({"Slide": [f"gone{i}" for i in range(600)], "Patient ID": [f"G{i}" for i in range(600)]})
    pd.concat([table, more.assign(label="benign")]).to_csv(folder / "labels.csv", index=False)
    given = ["--features", folder / "features", "--labels", folder / "labels.csv", "--folds", 2]
    said = asmil("check", *given, "--rows", folder / "rows.csv")
    assert len(said.splitlines()) < 12
    assert "left out: has a label but no file [600: gone0, gone1, gone2 and 597 more]" in said
    rows = pd.read_csv(folder / "rows.csv")
    assert len(rows) == 600
    assert set(rows["reason"]) == {"has a label but no file"}
