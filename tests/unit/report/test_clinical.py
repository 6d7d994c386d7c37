"""Groups by site and by any column of the table of labels; a table that does not fit is refused."""

import pandas as pd
import pytest
import yaml

from asmil.errors import AsmilError, RunError
from asmil.report import write_report
from asmil.report.clinical import calibration_of, group_columns, known, subgroup_section, subgroups_of
from asmil.runs import Run


@pytest.fixture
def labels(run, tmp_path):
    """The table of labels of the run, with a column that cohort.csv does not keep; one cell is empty."""
    table = pd.read_csv(run / "cohort.csv").rename(columns={"slide": "slide_id", "case": "case_id"})
    table["scanner"] = ["", *(["GT 450", "S60"] * 12)[1 : len(table)]]
    table.to_csv(tmp_path / "labels.csv", index=False)
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump(config | {"labels": str(tmp_path / "labels.csv")}))
    return tmp_path / "labels.csv"


def test_sites_and_a_column_of_the_table(run, labels, read_page):
    page = read_page(write_report(run, heatmaps=0, subgroups=["Scanner"]))
    assert {"By site", "By Scanner", "north", "south", "GT 450", "S60", "(not stated)", "all slides"} <= set(page.text)
    assert "6 groups are listed" not in page.words
    assert "5 groups are listed, each by itself. Of many groups some look worse by chance alone" in page.words
    assert "Sensitivity (of tumour)" in page.text
    groups = subgroups_of(Run(run), group_columns(Run(run), ["scanner"]))["scanner"]
    assert sum(group.n_slides for group in groups) == 12
    assert [(g.name, g.n_slides) for g in groups] == [("(not stated)", 1), ("GT 450", 5), ("S60", 6)]
    assert all(group.few for group in groups)


def test_without_sites_it_says_so(run):
    cohort = pd.read_csv(run / "cohort.csv")
    cohort.drop(columns="site").to_csv(run / "cohort.csv", index=False)
    files = Run(run)
    assert group_columns(files) == {}
    assert "names no site" in subgroup_section(files, {}).says[0]


def test_a_column_that_is_nowhere(run, labels):
    with pytest.raises(AsmilError, match="no column 'scaner'") as error:
        group_columns(Run(run), ["scaner"])
    assert "did you mean 'scanner'" in str(error.value)
    labels.unlink()
    with pytest.raises(RunError, match="the table of labels is not at hand") as error:
        group_columns(Run(run), ["scanner"])
    assert "--labels FILE" in str(error.value)


def test_a_table_of_other_labels_is_refused(run, labels):
    table = pd.read_csv(labels)
    table.loc[3, "label"] = "benign" if table["label"][3] == "tumour" else "tumour"
    table.to_csv(labels, index=False)
    with pytest.raises(RunError, match="other labels than the run"):
        group_columns(Run(run), ["scanner"])


def test_where_bags_are_patients_each_counts_once(run):
    (run / "config.yaml").write_text("bag: patient\nmodel: asmil\n")
    files = Run(run)
    assert len(files.predictions) == 12
    assert len(known(files)) == 6
    assert len(calibration_of(files, n_boot=20).slides) == 6
    assert {group.n_slides for group in subgroups_of(files, group_columns(files))["site"]} == {2, 4}
