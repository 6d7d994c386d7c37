"""TCGA: any label of your table (CLAM, STAMP, SurvPath) on your features; patients and sites from the barcodes."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from asmil.bags.datasets import Dataset, DatasetError
from asmil.bags.labels import read_cohort
from asmil.bags.loading import load_bags
from asmil.bags.slide_sets import of_one_kind, open_made_features, usable
from asmil.bags.split_files import read_splits
from asmil.bags.splits import make_splits
from asmil.bags.tables import listed, table_file, tcga_case, tcga_site
from asmil.errors import CohortError


def load_tcga(
    root: Path | None = None,
    *,
    features: str | Path | None = None,
    features_encoder: str | None = None,
    label_column: str = "label",
    slide_table: str | Path | None = None,
    classes: Sequence[str] | None = None,
    splits: str | Path | None = None,
    by_site: bool = False,
    folds: int = 5,
    val_fraction: float = 0.2,
    seed: int = 0,
) -> Dataset:
    """Slides that have both a label and features; the others are named in the cohort's problems.

    `root` is a table with a row per slide (CLAM, SurvPath: `slide_id` and the column that `label_column` names, such as
    `oncotree_code` or `project`), or per patient with `slide_table` (STAMP: PATIENT, FILENAME). `classes` chooses
    labels and their order. The patient is the first 12 characters of the barcode, the site its tissue source site (the
    first 7). TCGA has no official split: `splits` are those of others (CLAM, ACMIL or a table); `by_site` makes `folds`
    that keep sites together; with neither, `Dataset.splits` is None.

    Raises:
        DatasetError: no table, or no features.
        CohortError: slides that are no TCGA barcodes, or a patient column that contradicts them.
        SplitError: a patient in two parts of a fold.
    """
    if root is None or not table_file(root)[0].is_file():
        found = root or "no root option"
        raise DatasetError("the table of labels is not found", found=found, fix="give root=PATH of a csv or xlsx")
    store = open_made_features(features, features_encoder, name="tcga", slides="SLIDES")
    cohort = read_cohort(root, slide_table=slide_table, label=label_column, classes=classes, features=store)
    cohort = usable(store, cohort)
    if foreign := [slide for slide in cohort.slides if tcga_case(slide) is None]:
        raise CohortError("slides are not named by TCGA barcodes", found=listed(foreign))
    pairs = zip(cohort.slides, cohort.cases, strict=True)
    if wrong := [f"{slide} of {case}" for slide, case in pairs if tcga_case(slide) != case]:
        fix = "correct the patient column, or leave it out: the barcode names the patient"
        raise CohortError("the table's patients are not those of the barcodes", found=listed(wrong), fix=fix)
    cohort = replace(cohort, table=cohort.table.assign(site=cohort.table["slide"].map(tcga_site)))
    made = None
    if splits is not None:
        made = read_splits(splits, cohort, val_fraction=val_fraction, seed=seed)
    elif by_site:
        made = make_splits(cohort, folds=folds, val_fraction=val_fraction, seed=seed, by_site=True)
    source = "The Cancer Genome Atlas Research Network, portal.gdc.cancer.gov; labels from your table"
    bags = load_bags(store, cohort)
    told = of_one_kind(store, bags)
    return Dataset("tcga", bags, cohort, remarks=told, splits=made, source=source, licence="NIH, open access")


DATASET = load_tcga
