"""What tables are taken for: columns in any spelling, patients and classes written in two ways, sheets, stray cells."""

import openpyxl
import pandas as pd
import pytest

from asmil.bags import Cohort, read_cohort, read_splits, read_table
from asmil.errors import AsmilError, CohortError
from asmil.tasks import create_task

SLIDES = [f"S{i:02d}" for i in range(12)]
PEOPLE = [f"P{i // 2}" for i in range(12)]
LABELS = ["benign", "benign", "Tumour", "Tumour"] * 3


def table(**columns) -> pd.DataFrame:
    return pd.DataFrame({"Slide": SLIDES, **columns, "label": LABELS})


PATIENTS = ["Patient ID", "patient-id", "PatientID", "CASE ID", "Case submitter ID", "MRN", "Pat. ID", "Subject_Id"]


@pytest.mark.parametrize("name", PATIENTS)
def test_a_patient_column_is_known_by_its_letters(name):
    cohort = read_cohort(table(**{name: PEOPLE}))
    assert cohort.cases == PEOPLE
    assert cohort.reading.columns["case"] == name
    assert f"patient = {name}" in cohort.lines()[0]


@pytest.mark.parametrize("name", ["Slide ID", "File Name", "image-id", "WSI", "Slide name"])
def test_a_slide_column_is_known_by_its_letters(name):
    frame = table(patient=PEOPLE).rename(columns={"Slide": name})
    assert read_cohort(frame).slides == SLIDES


def write(frame: pd.DataFrame, path, form: str):
    if form == "xlsx":
        frame.to_excel(path / "t.xlsx", index=False)
        return path / "t.xlsx"
    separator = {"tsv": "\t", "semicolon": ";", "bom": ","}[form]
    frame.to_csv(path / "t.csv", index=False, sep=separator, encoding="utf-8-sig" if form == "bom" else "utf-8")
    return path / "t.csv"


@pytest.mark.parametrize("form", ["tsv", "semicolon", "bom", "xlsx"])
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Hospital number", [f"{10000 + i // 2}" for i in range(12)]),
        ("Person", PEOPLE),
        ("case (pseudonymised)", PEOPLE),
        ("key", [f"AB-{100 + i // 2}" for i in range(12)]),
    ],
)
def test_a_column_that_may_name_patients_is_asked_about(name, values, form, tmp_path):
    path = write(table(**{name: values}), tmp_path, form)
    with pytest.raises(CohortError, match=r"may name the patients.*--case-column"):
        read_cohort(path)
    assert len(set(read_cohort(path, case_column=name).cases)) == 6
    assert read_cohort(path, case_column="slide").cases == SLIDES


def test_columns_that_come_again_and_name_nobody_are_passed_over():
    others = {
        "age": [str(50 + i // 2) for i in range(12)],
        "patient_sex": ["f", "m"] * 6,
        "scanner": ["A1", "B2"] * 6,
        "date": [f"2020-01-{1 + i // 2:02d}" for i in range(12)],
        "stain batch": ["1", "2", "3"] * 4,
        "stage": ["T1N0", "T2N1", "T3N0"] * 4,
        "size": [str(1 + i // 3) for i in range(12)],
    }
    assert read_cohort(table(**others)).cases == SLIDES


def test_of_two_patient_columns_the_one_that_keeps_more_together_is_asked_about():
    with pytest.raises(CohortError, match=r"'patient_id' may name.*'P0' has 2 values of 'case_id'"):
        read_cohort(table(case_id=SLIDES, patient_id=PEOPLE))
    finer = read_cohort(table(patient=PEOPLE, specimen_id=[f"B{i}" for i in range(12)]))
    assert finer.cases == PEOPLE
    equal = read_cohort(table(case_id=PEOPLE, patient=[f"x{name}" for name in PEOPLE]))
    assert equal.cases == PEOPLE
    assert "patient = case_id (also possible: patient)" in equal.lines()[0]


def test_patients_of_a_slide_table_are_asked_about_too():
    slides = pd.DataFrame({"FILENAME": SLIDES, "case_id": SLIDES, "patient_id": PEOPLE})
    labels = pd.DataFrame({"case_id": SLIDES, "label": LABELS})
    with pytest.raises(CohortError, match="'patient_id' may name"):
        read_cohort(labels, slide_table=slides)


def test_a_patient_named_in_some_rows_only_is_an_error():
    merged = [name if i % 2 == 0 else "" for i, name in enumerate(PEOPLE)]
    with pytest.raises(CohortError, match=r"6 of 12 slides name no patient.*merged cell"):
        read_cohort(table(patient=merged))


ALIKE = [("P-01", "p01"), ("P 1", "P_1"), ("P01", "P1"), ("12", "12.0"), ("A/7", "a7"), ("2020-001", "2020001")]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_patients_written_in_two_ways_are_asked_about(one, other):
    frame = table(patient=[one, other, *(f"Q{name}" for name in PEOPLE[2:])])
    with pytest.raises(CohortError, match=r"patients differ only in how they are written.*--spellings"):
        read_cohort(frame)
    assert len(set(read_cohort(frame, spellings="same").cases)) == 6
    cohort = read_cohort(frame, spellings="different")
    assert len(set(cohort.cases)) == 7


@pytest.mark.parametrize(("one", "other"), [("1-11", "11-1"), ("P1-1", "P11"), ("P1", "P2"), ("Ä1", "A1")])
def test_patients_that_are_not_the_same_are_not_asked_about(one, other):
    assert read_cohort(table(patient=[one, other, *PEOPLE[2:]])).cases[:2] == [one, other]


def test_patients_of_two_tables_meet_however_they_are_written():
    labels = pd.DataFrame({"patient": [f"P-0{i}" for i in range(6)], "label": LABELS[::2]})
    slides = pd.DataFrame({"patient": [f"p0{i // 2}" for i in range(12)], "filename": SLIDES})
    with pytest.raises(CohortError, match="patients differ only"):
        read_cohort(labels, slide_table=slides)
    assert len(read_cohort(labels, slide_table=slides, spellings="same")) == 12
    numbers = labels.assign(patient=[f"{i}.0" for i in range(6)])
    assert len(read_cohort(numbers, slide_table=slides.assign(patient=[str(i // 2) for i in range(12)]))) == 12


def test_classes_written_in_two_ways_are_asked_about():
    for second in ("tumour", "TUMOUR", "Tum our", "Tumour_", "Tum-our", "Tum\u2011our"):
        frame = table(patient=PEOPLE).assign(label=["benign", "benign", "Tumour", second] * 3)
        with pytest.raises(CohortError, match="classes differ only"):
            read_cohort(frame)
        assert read_cohort(frame, spellings="same").classes[0] == "benign"
        assert len(read_cohort(frame, spellings="different").classes) == 3
        if second != "Tumour_":
            assert read_cohort(frame, classes=["benign", "Tumour"]).table["label"].nunique() == 2
    signs = table(patient=PEOPLE).assign(label=["ER+", "ER+", "ER-", "ER-"] * 3)
    assert read_cohort(signs).classes == ("ER-", "ER+")
    assert len(read_cohort(table(patient=PEOPLE).assign(label=["T1-2", "T12"] * 6)).classes) == 2


def test_what_cannot_be_seen_tells_no_names_apart(tmp_path):
    frame = table(patient=PEOPLE).assign(label=["benign", "benign", "tumour\u200b", "tumour"] * 3)
    assert read_cohort(frame.rename(columns={"label": "\ufefflabel"})).classes == ("benign", "tumour")


@pytest.mark.parametrize(
    "word", ["Unknown", "?", "missing", "not assessed", "-", "n.d.", "N/K", "k.A.", "\u2013", ".", "TBD"]
)
def test_words_for_unknown_are_no_class_unless_asked_for(word):
    frame = table(patient=PEOPLE).assign(label=["a", "a", "b", "b"] * 2 + [word] * 4)
    with pytest.raises(CohortError, match=r"not known among its classes.*--classes a,b"):
        read_cohort(frame)
    assert len(read_cohort(frame, classes=["a", "b"])) == 8
    assert read_cohort(frame, classes=["a", "b", word]).classes == ("a", "b", word)


@pytest.mark.parametrize(
    ("names", "positive"),
    [
        (("Tumour", "benign"), "Tumour"),
        (("tumor", "Normal"), "tumor"),
        (("MSIH", "nonMSIH"), "MSIH"),
        (("pos", "neg"), "pos"),
        (("mut", "wildtype"), "mut"),
        (("High", "low"), "High"),
        (("no tumour", "tumour"), "tumour"),
        (("yes", "no"), "yes"),
        (("B", "a"), "B"),
        (("grade1", "grade2"), "grade2"),
    ],
)
def test_of_two_classes_the_positive_one_is_last(names, positive):
    for order in (names, names[::-1]):
        cohort = read_cohort(table(patient=PEOPLE).assign(label=[order[0]] * 6 + [order[1]] * 6))
        assert cohort.classes[1] == positive
        assert f"positive is {positive}" in cohort.lines()[1]
        named = read_cohort(cohort.table, classes=cohort.classes[::-1])
        assert named.classes == cohort.classes[::-1]


def test_numbers_too_large_to_be_known_are_no_one_class():
    frame = table(patient=PEOPLE).assign(label=["1e300", "9223372036854775808"] * 6)
    assert len(read_cohort(frame).classes) == 2
    infinite = table(patient=PEOPLE).assign(label=["inf", "1"] * 6)
    assert set(read_cohort(infinite).classes) == {"inf", "1"}


def test_a_set_of_something_else_is_no_part_of_a_fold():
    of = {
        words: read_cohort(table(patient=PEOPLE, set=list(words) * 6)).reading.columns
        for words in (("a", "b"), ("train", ""))
    }
    assert [columns.get("part") for columns in of.values()] == [None, "set"]


# Numbers that a spreadsheet changed.


@pytest.mark.parametrize("column", ["Slide", "patient"])
@pytest.mark.parametrize("form", ["1.23457E+{}", "1,23457e+{}", "1E+{}"])
def test_names_that_became_rounded_numbers_are_refused(form, column):
    frame = table(patient=PEOPLE)
    rounded = frame.assign(**{column: [form.format(11 + i // 2) for i in range(12)]})
    with pytest.raises(CohortError, match=f"column '{column}' has rounded numbers for names"):
        read_cohort(rounded)
    slides = rounded[["patient", "Slide"]]
    labels = rounded[["patient", "label"]].drop_duplicates("patient")
    with pytest.raises(CohortError, match=f"column '{column}' has rounded numbers for names"):
        read_cohort(labels, slide_table=slides)


def test_numbers_of_more_digits_than_a_spreadsheet_keeps_are_no_names(tmp_path):
    book = openpyxl.Workbook()
    book.active.append(["slide", "patient", "label"])
    for i, slide in enumerate(SLIDES):
        book.active.append([slide, 1.23456789012345e17 + 1000 * (i // 2), "ab"[i // 2 % 2]])
    book.save(tmp_path / "t.xlsx")
    with pytest.raises(CohortError, match=r"rounded numbers for names.*1.23456789012345E\+17"):
        read_cohort(tmp_path / "t.xlsx")


@pytest.mark.parametrize("word", ["unknown", "-", "Unbekannt", "?"])
def test_slides_of_unknown_patients_are_not_of_one(word):
    people = [*PEOPLE[:8], *[word] * 4]
    with pytest.raises(CohortError, match=r"one patient.*4 slides of .*--spellings different"):
        read_cohort(table(patient=people))
    assert len(set(read_cohort(table(patient=people), spellings="different").cases)) == 5
    assert len(set(read_cohort(table(patient=[*PEOPLE[:11], word])).cases)) == 7
    assert read_cohort(table(patient=["ND" if name == "P3" else name for name in PEOPLE])).cases[6] == "ND"


@pytest.mark.parametrize("value", ["1.5", "inf"])
def test_a_fold_is_a_whole_number(value):
    with pytest.raises(CohortError, match=f"column fold.*{value}"):
        read_cohort(table(patient=PEOPLE).assign(fold=["1"] * 11 + [value]))


# Files.


def test_a_surplus_cell_is_an_error_that_names_its_line(tmp_path):
    (tmp_path / "t.csv").write_text("slide,case,label\nS1,Doe, J,tumour\nS2,P2,benign\n")
    with pytest.raises(CohortError, match=r"more cells than the table has columns.*line 2: S1, Doe,  J, tumour"):
        read_table(tmp_path / "t.csv")
    (tmp_path / "u.csv").write_text("slide,case,label,\nS1,Doe, J,tumour\nS2,P2,benign,\n")
    with pytest.raises(CohortError, match="more cells"):
        read_table(tmp_path / "u.csv")
    (tmp_path / "v.csv").write_text('slide,case,label\nS1,"Doe, J",tumour,\n\nS2,P2,benign,,\n')
    assert read_table(tmp_path / "v.csv")["case"].tolist() == ["Doe, J", "P2"]
    pd.DataFrame([["slide", "label", None], ["S1", "a", None], ["S2", "b", "stray"]]).to_excel(
        tmp_path / "t.xlsx", index=False, header=False
    )
    with pytest.raises(CohortError, match=r"line 3: S2, b, stray"):
        read_table(tmp_path / "t.xlsx")


def test_unicode_text_of_excel_is_read(tmp_path):
    table(patient=PEOPLE).to_csv(tmp_path / "t.txt", index=False, sep="\t", encoding="utf-16")
    assert read_cohort(tmp_path / "t.txt").cases == PEOPLE


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_lines_may_end_in_any_way_and_cells_hold_lines(line_end, tmp_path):
    rows = ["slide,case,label", 'S1,"a\nb",x', "S2,c,y"]
    (tmp_path / "t.csv").write_bytes(line_end.join(rows).encode())
    assert read_table(tmp_path / "t.csv")["label"].tolist() == ["x", "y"]


def test_a_column_that_is_there_twice_is_asked_about(tmp_path):
    rows = [f"{s},{p},{a},{b}" for s, p, a, b in zip(SLIDES, PEOPLE, LABELS, LABELS[::-1], strict=True)]
    (tmp_path / "t.csv").write_text("\n".join(["slide,case,label,label", *rows]))
    with pytest.raises(CohortError, match=r"several columns 'label' of different cells.*label \(column 4\)"):
        read_cohort(tmp_path / "t.csv")
    assert read_cohort(tmp_path / "t.csv", label="label (column 3)").table["label"].tolist() == LABELS
    same = [f"{s},{p},{a},{a}" for s, p, a in zip(SLIDES, PEOPLE, LABELS, strict=True)]
    (tmp_path / "t.csv").write_text("\n".join(["slide,case,label,label", *same]))
    assert len(read_cohort(tmp_path / "t.csv")) == 12
    twice = [f"{s},{p},{s},{a}" for s, p, a in zip(SLIDES, PEOPLE, LABELS, strict=True)]
    (tmp_path / "t.csv").write_text("\n".join(["slide,case,case,label", *twice]))
    with pytest.raises(CohortError, match="several columns 'case'"):
        read_cohort(tmp_path / "t.csv")


def test_slides_that_became_floats_are_taken_for_their_numbers_and_it_is_said():
    frame = table(patient=PEOPLE).assign(Slide=[f"{1000 + i}.0" for i in range(12)])
    cohort = read_cohort(frame, slides=[f"{1000 + i}" for i in range(12)])
    assert cohort.slides == [str(1000 + i) for i in range(12)]
    assert any("12 slides are numbers with .0" in line for line in cohort.lines())
    assert read_cohort(frame, slides=[f"{1000 + i}.0" for i in range(12)]).slides[0] == "1000.0"


def test_what_was_saved_is_read_as_it_was(tmp_path):
    cohort = read_cohort(table(patient=["P-1", "p1", *PEOPLE[2:]]), spellings="different")
    cohort.save(tmp_path / "cohort.csv")
    pd.testing.assert_frame_equal(Cohort.load(tmp_path / "cohort.csv").table, cohort.table)


def test_what_is_left_out_is_a_line_for_each_reason():
    frame = table(patient=PEOPLE).assign(label=["", "", "", *LABELS[3:]])
    lines = read_cohort(frame, slides=SLIDES[:-1]).lines()
    assert "left out: has no label [3: S00, S01, S02]" in lines
    assert "left out: has a label but no file [1: S11]" in lines
    assert "8 slides of 5 patients; classes benign (4 slides, 2 patients), Tumour (4 slides, 3 patients)" in lines[1]


def test_a_verdict_leaves_a_slide_out_and_no_other_word_does():
    frame = table(patient=PEOPLE, Verdict=["agree", "Exclude", "excluded", "", "malignant", *["relabel"] * 7])
    frame.loc[11, "Slide"] = ""
    cohort = read_cohort(frame)
    assert cohort.slides == [SLIDES[0], *SLIDES[3:11]]
    said = [(problem.slide, problem.what) for problem in cohort.problems]
    assert said[:2] == [(SLIDES[1], "is excluded by its verdict"), (SLIDES[2], "is excluded by its verdict")]
    assert ("", "row 12 names no slide") in said


def test_an_excluded_slide_need_not_make_sense():
    """Without a label, or with a second spelling of a class: it is not asked about."""
    frame = table(patient=PEOPLE, verdict=["exclude", "exclude", *[""] * 10])
    frame.loc[[0, 1], "label"] = ["", "tumour"]
    assert len(read_cohort(frame)) == 10


OTHERS = {
    "slide": ("slide_id", "Slide ID", [f"T{i}" for i in range(12)]),
    "case": ("patient_id", "Patient-ID", [f"Q{i // 2}" for i in range(12)]),
    "label": ("label", "LABEL", LABELS[::-1]),
    "site": ("site", "Site", ["a", "b"] * 6),
    "mpp": ("mpp", "MPP", ["0.25", "0.5"] * 6),
    "fold": ("fold", "Fold", ["0", "1"] * 6),
    "verdict": ("verdict", "Verdict", ["agree", "exclude"] * 6),
}
OWN = {"site": ["x", "y"] * 6, "mpp": ["0.5"] * 12, "fold": ["1", "0"] * 6, "verdict": ["agree"] * 12}


@pytest.mark.parametrize("role", OTHERS)
def test_columns_that_differ_only_in_how_they_are_called_are_asked_about(role):
    one, other, cells = OTHERS[role]
    frame = table(patient_id=PEOPLE).rename(columns={"Slide": "slide_id"})
    frame = frame if one in frame else frame.assign(**{one: OWN[role]})
    with pytest.raises(CohortError, match=rf"several columns.*{other}"):
        read_cohort(frame.assign(**{other: cells}))
    assert read_cohort(frame.assign(**{other: frame[one]})).slides == SLIDES  # of the same cells one is enough
    named = {"slide": "slide_column", "case": "case_column", "label": "label", "site": "site_column"}
    if role in named:
        cohort = read_cohort(frame.assign(**{other: cells}), **{named[role]: other})
        assert f"remark: column {other!r} is used as it was named; {one!r} has other cells" in cohort.lines()


def test_a_label_of_another_task_is_not_asked_about():
    frame = table(patient=PEOPLE, Label=LABELS[::-1], ki67=[str(i) for i in range(12)])
    assert len(read_cohort(frame, task=create_task("regression", columns=["ki67"]))) == 12


@pytest.mark.parametrize(("task", "columns", "other"), [
    ("regression", {"ki67": [str(i) for i in range(12)]}, "Ki-67"),
    ("survival", {"time": [str(i + 1) for i in range(12)], "event": ["0", "1"] * 6}, "Time"),
    ("survival", {"time": [str(i + 1) for i in range(12)], "event": ["0", "1"] * 6}, "Event"),
])  # fmt: skip
def test_targets_that_differ_only_in_how_they_are_called_are_asked_about(task, columns, other):
    people = [f"P{i}" for i in range(12)]
    frame = table(patient=people, **columns, **{other: ["1", "0", "1", "1"] * 3})
    with pytest.raises(CohortError, match=other):
        read_cohort(frame, task=create_task(task, columns=["KI67"] if task == "regression" else ()))
    cohort = read_cohort(frame, task=create_task(task, columns=list(columns)))
    assert any(f"{other!r} has other cells" in line for line in cohort.lines())


@pytest.mark.parametrize("columns", [("fold", "Fold"), ("split", "Split"), ("slide", "Slide ID"), ("train", "Train")])
def test_columns_of_splits_that_are_called_alike_are_asked_about(columns, tmp_path):
    one, other = columns
    rows = {"slide": SLIDES, "split": ["train"] * 8 + ["test"] * 4}
    if one == "fold":
        rows |= {"fold": ["0"] * 12, "Fold": ["0", "1"] * 6}
    elif one == "train":
        rows = {"train": SLIDES[:8], "Train": SLIDES[4:], "test": SLIDES[8:]}
        rows = {name: [*cells, *[""] * (8 - len(cells))] for name, cells in rows.items()}
    else:
        rows[other] = rows[one][::-1]
    pd.DataFrame(rows).rename(columns={"slide": "slide_id"} if one == "slide" else {}).to_csv(tmp_path / "s.csv")
    with pytest.raises(AsmilError, match=rf"two parts that are train|several columns.*{other}"):
        read_splits(tmp_path / "s.csv", read_cohort(table(patient=[f"P{i}" for i in range(12)])))


@pytest.mark.parametrize(
    "above", ["Study of colon", "Study of colon,,", '"Study, of colon",v2,2024', ",\nStudy\n\n2024,,"]
)
def test_a_title_above_the_header_is_told_with_the_line_of_the_header(above, tmp_path):
    lines = above.split("\n")
    (tmp_path / "t.csv").write_text("\n".join([*lines, table(patient=PEOPLE).to_csv(index=False)]))
    with pytest.raises(CohortError, match=rf"no names of its columns.*line {len(lines) + 1} are Slide, patient, label"):
        read_cohort(tmp_path / "t.csv")


def test_words_of_cells_are_no_header():
    rows = pd.DataFrame({"name": SLIDES, "group": ["case", "control"] * 6, "cohort": ["train"] * 12})
    assert read_cohort(rows, slide_column="name", label="group").classes == ("control", "case")
