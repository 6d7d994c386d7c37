"""Cohort tables in the forms people keep, real ones included; contradictions and orphans are named."""

import pandas as pd
import pytest

from asmil.bags import Cohort, read_cohort, read_splits
from asmil.errors import CohortError
from asmil.tasks import create_task


def clam(rows, columns=("slide_id", "case_id", "label")):
    return pd.DataFrame(rows, columns=columns)


def names(cohort):
    return {problem.slide for problem in cohort.problems}


def test_identifiers_are_text(tmp_path):
    (tmp_path / "t.csv").write_text("Slide_ID;Case_ID;Label\n007;01;1\n1e3;02;0\n", encoding="utf-8-sig")
    cohort = read_cohort(tmp_path / "t.csv")
    assert cohort.slides == ["007", "1e3"]
    assert cohort.cases == ["01", "02"]
    cohort.save(tmp_path / "cohort.csv")
    pd.testing.assert_frame_equal(Cohort.load(tmp_path / "cohort.csv").table, cohort.table)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["10", "9", "2"], ("2", "9", "10")),
        (["1.0", "0", "1"], ("0", "1")),
        (["b", "a", "10"], ("10", "a", "b")),
        (["True", "False", "True"], ("False", "True")),
        (["-1", "0.5", "2"], ("-1", "0.5", "2")),
    ],
)
def test_classes_are_sorted_by_number_or_text(labels, classes):
    cohort = read_cohort(clam([(f"s{i}", f"p{i}", label) for i, label in enumerate(labels)]))
    assert cohort.classes == classes
    assert [cohort.classes[i] for i in cohort.labels] == cohort.table["label"].tolist()


def test_classes_that_no_slide_has_are_named_beside_those_there_are():
    table = pd.DataFrame({"slide_id": ["s1", "s2"], "label": ["benign", "tumour"]})
    with pytest.raises(CohortError, match="no slide is of the classes yes, no") as error:
        read_cohort(table, classes=["yes", "no"])
    assert error.value.found == "labels benign, tumour"


def test_classes_can_be_ordered_and_chosen():
    table = clam([("s1", "p1", "MSS"), ("s2", "p2", "MSIH"), ("s3", "p3", "other")])
    cohort = read_cohort(table, classes=("MSS", "MSIH"))
    assert cohort.labels.tolist() == [0, 1]
    assert names(cohort) == {"s3"}


@pytest.mark.parametrize("blank", ["", "  ", "NA", "n/a", "NaN", "Not Available", None, float("nan")])
def test_unlabelled_slides_are_dropped_and_named(blank):
    cohort = read_cohort(clam([("s1", "p1", "a"), ("s2", "p2", "b"), ("s3", "p3", blank)]))
    assert cohort.slides == ["s1", "s2"]
    assert names(cohort) == {"s3"}


def test_a_row_that_names_a_file_holds_for_all_its_scenes_and_keeps_them_together():
    scenes = [f"x.ome.scene-{n}" for n in (0, 1, 2, 10)]
    table = pd.DataFrame(
        [("y.tif", "b", "0.5"), ("x.ome.tif", "a", "0.25"), ("x.ome.scene-2", "b", "")],
        columns=["slide", "label", "mpp"],
    )
    cohort = read_cohort(table)
    matched = cohort.match(["y", *sorted(scenes)])
    assert matched.slides == ["y", *[scenes[i] for i in (0, 1, 3)], "x.ome.scene-2"]
    assert matched.table["label"].tolist() == ["b", "a", "a", "a", "b"]
    assert matched.cases == ["y", *["x.ome"] * 4]
    assert matched.table["mpp"].tolist()[1:4] == [0.25] * 3
    assert matched.match(["y", *scenes]).table.equals(matched.table)
    other = cohort.match(["y", "x.ome"])  # a file of one scene, or the first alone
    assert other.slides == ["y", "x.ome"]
    assert names(other) == {"", "x.ome.scene-2"}


def test_a_barcode_without_its_uuid_names_the_scenes_too():
    case = "TCGA-AA-1234"
    files = [f"{case}-01Z-00-DX1.8923A151-A690-40B7-9E5A-FCBEDFC2394F.scene-{n}" for n in (0, 1)]
    matched = read_cohort(clam([(f"{case}-01Z-00-DX1", "", "a"), ("y", "", "b")])).match([*files, "y"])
    assert (matched.slides, matched.cases) == ([*files, "y"], [case, case, "y"])


def test_splits_may_name_the_file_of_scenes(tmp_path):
    files = [f"x{i}" for i in range(8)]
    cohort = read_cohort(clam([(name, "", "ab"[i % 2]) for i, name in enumerate(files)]))
    cohort = cohort.match([f"{name}.scene-{n}" for name in files for n in (0, 1)])
    rows = [(name, 0, part) for part, names in (("test", files[:4]), ("train", files[4:])) for name in names]
    pd.DataFrame(rows, columns=["slide", "fold", "part"]).to_csv(tmp_path / "splits.csv", index=False)
    fold = read_splits(tmp_path / "splits.csv", cohort).fold(0)
    assert sorted(fold.test) == [f"{name}.scene-{n}" for name in files[:4] for n in (0, 1)]
    assert len(fold.train) + len(fold.val) == 8


def test_a_class_may_be_called_none():
    assert read_cohort(clam([("s1", "p1", "None"), ("s2", "p2", "Macro")])).classes == ("None", "Macro")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("s1", "p1", "a"), ("s1", "p1", "b"), ("s2", "p2", "b")], r"two different labels.*s1 \(a / b\)"),
        ([("s1", "p1", "a"), ("s1.svs", "p2", "a"), ("s2", "p2", "b")], r"two patients.*s1 \(p1 / p2\)"),
        ([("s1", "p1", "a"), ("s2", "p2", "a")], "fewer than two classes"),
        ([("s1", "p1", "")], "no labels at all"),
    ],
)
def test_contradictions_are_errors(rows, message):
    with pytest.raises(CohortError, match=message):
        read_cohort(clam(rows))


def test_a_repeated_row_and_a_patient_with_two_labels_are_only_named():
    cohort = read_cohort(clam([("s1", "p1", "a"), ("s1", "p1", "a"), ("s2", "p1", "b")]))
    assert cohort.slides == ["s1", "s2"]
    assert str(cohort.problems[0]) == "s1: is in the table more than once"
    assert any("slides of different labels: p1" in problem.what for problem in cohort.problems)


def test_slides_without_patient_count_each_for_itself_unless_the_name_tells():
    table = clam([("s1", "a"), ("s2", "b")], ("slide", "label"))
    cohort = read_cohort(table)
    assert cohort.cases == ["s1", "s2"]
    assert "2 slides name no patient" in cohort.problems[0].what
    table = clam([("TCGA-AA-0001-01Z-00-DX1", "a"), ("TCGA-AA-0001-01Z-00-DX2", "b")], ("slide", "label"))
    cohort = read_cohort(table)
    assert cohort.cases == ["TCGA-AA-0001"] * 2
    assert cohort.table["site"].tolist() == ["TCGA-AA"] * 2


def test_columns_by_name_and_the_hint_for_a_wrong_one():
    table = clam([("s1", "p1", "a"), ("s2", "p2", "b")], ("Name", "Who", "Grade"))
    assert read_cohort(table, slide_column="name", case_column="Who", label="grade").slides == ["s1", "s2"]
    with pytest.raises(CohortError, match="did you mean 'Grade'"):
        read_cohort(table, slide_column="Name", label="grad")
    with pytest.raises(CohortError, match=r"no slide column.*--slide-column"):
        read_cohort(table, label="Grade")


def test_a_patients_slides_need_not_follow_each_other():
    """STAMP groups consecutive rows only and so loses all but the last run of a patient's slides."""
    labels = clam([("p1", "a"), ("p2", "b"), ("p3", "")], ("PATIENT", "MSI"))
    slides = clam(
        [("p1", "x.h5"), ("p2", "y.h5"), ("p1", "z.h5"), ("p3", "u.h5"), ("p9", "v.h5")],
        ("PATIENT", "FILENAME"),
    )
    cohort = read_cohort(labels, slide_table=slides, label="MSI")
    assert dict(zip(cohort.slides, cohort.cases, strict=True)) == {"x": "p1", "y": "p2", "z": "p1"}
    assert names(cohort) == {"u", "v"}
    with pytest.raises(CohortError, match=r"two different labels.*p1"):
        read_cohort(clam([("p1", "a"), ("p1", "b")], labels.columns), slide_table=slides, label="MSI")


def test_a_patient_without_slides_is_named():
    labels = clam([("p1", "a"), ("p2", "b"), ("p3", "b")], ("PATIENT", "label"))
    slides = clam([("p1", "x.h5"), ("p2", "y.h5")], ("PATIENT", "FILENAME"))
    assert names(read_cohort(labels, slide_table=slides)) == {"p3"}


def test_match_names_orphans_on_both_sides_and_two_rows_for_one_file():
    table = clam([("s1", "p1", "a"), ("s2", "p2", "b"), ("s3", "p3", "b")])
    cohort = read_cohort(table, slides=["s1.svs", "sub/s2.tif", "s9.ndpi"])
    assert cohort.slides == ["s1", "s2"]
    assert {p.slide: p.what for p in cohort.problems} == {
        "s3": "has a label but no file",
        "s9": "has a file but no label",
    }
    with pytest.raises(CohortError, match="no slide of the table has a file"):
        read_cohort(table, slides=["other"])
    uuid = "8923A151-A690-40B7-9E5A-FCBEDFC2394F"
    twice = read_cohort(clam([("t", "p1", "a"), (f"t.{uuid}", "p1", "a"), ("u", "p2", "b")]))
    assert twice.match(["t", "u"]).slides == ["t", "u"]


@pytest.mark.parametrize(("column", "value"), [("mpp", "0,250"), ("mpp", "0.25 um"), ("mpp", "250"), ("fold", "one")])
def test_implausible_numbers_are_errors(column, value):
    table = clam([("s1", "p1", "a"), ("s2", "p2", "b")]).assign(**{column: ["1", value]})
    with pytest.raises(CohortError, match=column):
        read_cohort(table)


@pytest.mark.parametrize("content", [b"\x00\xff\xfe\x81", b""])
def test_files_that_are_no_table(content, tmp_path):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(CohortError, match="not a readable table"):
        read_cohort(tmp_path / "t.csv")
    (tmp_path / "t.xlsx").write_bytes(content)
    with pytest.raises(CohortError, match="not a readable table"):
        read_cohort(tmp_path / "t.xlsx")


def test_subset_keeps_the_classes():
    cohort = read_cohort(clam([("s1", "p1", "a"), ("s2", "p2", "b")]))
    assert cohort.subset(["s2"]).labels.tolist() == [1]
    with pytest.raises(CohortError, match="s9"):
        cohort.subset(["s9"])


def test_real_clam_tables(data_dir):
    cohort = read_cohort(data_dir / "tables/clam/tumor_subtyping_dummy_clean.csv")
    assert (len(cohort), cohort.classes) == (500, ("subtype_1", "subtype_2", "subtype_3"))
    bracs = read_cohort(data_dir / "tables/bracs.csv")
    assert (len(bracs), bracs.classes) == (547, tuple("0123456"))
    camelyon = read_cohort(data_dir / "tables/camelyon16/flamby/labels.csv", label="tumor")
    assert (len(camelyon), camelyon.slides[0]) == (399, "normal_001")


def test_real_stamp_tables(data_dir):
    folder = data_dir / "tables/tcga/stamp_toolarena"
    cohort = read_cohort(
        folder / "TCGA-CRC-DX_CLINI.xlsx", slide_table=folder / "TCGA-CRC-DX_SLIDE.csv", label="isMSIH"
    )
    assert cohort.classes == ("nonMSIH", "MSIH")
    slides = pd.read_csv(folder / "TCGA-CRC-DX_SLIDE.csv", encoding="utf-8-sig")["FILENAME"]
    set_aside = {p.slide for p in cohort.problems}
    assert {name.removesuffix(".h5") for name in slides} <= set(cohort.slides) | set_aside
    assert not set(cohort.slides) & set_aside
    assert cohort.table["site"].str.fullmatch("TCGA-[A-Z0-9]{2}").all()
    clini = pd.read_excel(folder / "TCGA-CRC-DX_CLINI.xlsx", dtype=str).set_index("PATIENT")["isMSIH"]
    assert (cohort.table["case"].map(clini) == cohort.table["label"]).all()


def test_a_file_that_cannot_be_read_is_what_is_wrong_with_its_slide(write_feature_files, tmp_path):
    slides = write_feature_files(tmp_path / "features", n_slides=4, dim=6)
    (tmp_path / "features" / f"{slides[0]}.h5").write_bytes(b"torn")
    table = pd.DataFrame({"slide_id": [*slides, "other"], "label": ["a", "b", "a", "b", "a"]})
    cohort = read_cohort(table, features=tmp_path / "features")
    said = {problem.slide: problem.what for problem in cohort.problems}
    assert f"{slides[0]}.h5 cannot be read" in said[slides[0]]
    assert said["other"] == "has a label but no file"


CLASSES = ["low", "low", "high", "high"] * 6
NAMES = [f"S{i:02d}" for i in range(24)]


@pytest.mark.parametrize(("one", "other"), [("1-Jan", "2-Mar"), ("2024-01-02", "2023-05-06"), ("Mar-01", "Dec-12")])
def test_dates_as_classes_are_asked_about(one, other):
    frame = pd.DataFrame({"slide": NAMES, "label": [one, other] * 12})
    with pytest.raises(CohortError, match=r"dates for classes.*--classes"):
        read_cohort(frame)
    assert read_cohort(frame, classes=[one, other]).classes == (one, other)
    assert len(read_cohort(frame.assign(slide=[f"2024-01-{i + 1:02d}" for i in range(24)], label=CLASSES))) == 24


def test_a_class_for_each_slide_is_none():
    frame = pd.DataFrame({"slide": NAMES, "label": [f"{i * 1.37:.2f}" for i in range(24)]})
    with pytest.raises(CohortError, match=r"a class of its own for most slides.*24 classes of 24 slides.*regression"):
        read_cohort(frame)


@pytest.mark.parametrize(("column", "values"), [("site", "ab"), ("mpp", ["0.25", "0.5"]), ("fold", "01")])
def test_rows_of_a_slide_that_disagree_are_refused(column, values):
    frame = pd.DataFrame(
        {"slide": [*NAMES, "S00"], "label": [*CLASSES, "low"], column: [*list(values) * 12, values[1]]}
    )
    with pytest.raises(CohortError, match=f"two different values of {column}.*S00"):
        read_cohort(frame)
    agreeing = read_cohort(frame.drop(index=24))
    assert len(agreeing) == 24


def test_sites_written_in_two_ways_are_remarked_and_made_one_where_asked():
    frame = pd.DataFrame({"slide": NAMES, "label": CLASSES, "site": ["Kiel", "kiel", "Bonn", "Bonn "] * 6})
    cohort = read_cohort(frame)
    assert "remark: sites that differ only in how they are written: 'Kiel' and 'kiel'" in cohort.lines()
    assert read_cohort(frame, spellings="same").table["site"].nunique() == 2
    assert read_cohort(frame, spellings="different").table["site"].nunique() == 3


def test_blanks_of_word_processors_are_blanks():
    frame = pd.DataFrame({"slide": [f"My\u00a0slide {i}" for i in range(24)], "label": CLASSES})
    cohort = read_cohort(frame)
    assert len(cohort.match([f"My slide\u202f{i}" for i in range(24)])) == 24
    assert cohort.slides[0] == "My slide 0"


def test_a_slide_that_was_set_aside_is_not_told_to_have_no_label():
    frame = pd.DataFrame({"slide": NAMES, "ki67": ["<1", *map(str, range(23))]})
    cohort = read_cohort(frame, task=create_task("regression", columns=["ki67"]))
    said = [problem.what for problem in cohort.match(NAMES).problems if problem.slide]
    assert said == ["ki67 is '<1', a number is meant"]


def test_names_that_lost_their_zeros_are_told():
    frame = pd.DataFrame({"slide": [str(i) for i in range(24)], "label": CLASSES})
    with pytest.raises(CohortError, match="lost their zeros in front: save that column as text"):
        read_cohort(frame).match([f"{i:04d}" for i in range(24)])


def test_a_table_of_another_language_is_asked_for_both_columns_at_once():
    table = pd.DataFrame({"Präparat": ["a", "b"], "Diagnose": ["x", "y"]})
    with pytest.raises(CohortError, match=r"no column 'label'.*with --label, and that of the slides with --slide-col"):
        read_cohort(table, label="label")
    with pytest.raises(CohortError) as caught:
        read_cohort(table.rename(columns={"Präparat": "slide"}), label="label")
    assert "--slide-column" not in str(caught.value)
