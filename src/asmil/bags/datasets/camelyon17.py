"""CAMELYON17: 500 labelled lymph nodes of 100 patients, 4 classes; centres 0 to 2 train, centres 3 and 4 test."""

import re
from pathlib import Path

import pandas as pd

from asmil.bags.datasets import Dataset, DatasetError
from asmil.bags.slide_sets import Choices, Official, find_table, load_official
from asmil.bags.tables import listed, read_table

CLASSES = ("negative", "itc", "micro", "macro")
_NODE = re.compile(r"(patient_(\d{3}))_node_\d")
_PATIENTS_PER_CENTRE = 20


def load_camelyon17(
    root: Path | None = None,
    *,
    features: str | Path | None = None,
    features_encoder: str | None = None,
    splits: str | Path | None = None,
    val_fraction: float = 0.1,
    seed: int = 0,
    partial: bool = False,
) -> Dataset:
    """Test on the centres 3 and 4 (200 slides); validation patients are drawn from the centres 0 to 2 (300 slides).

    `root` is the csv of stages (patient, stage; a row per node and one per patient) or a folder with it. The case is
    the patient, the site the centre: patients 0 to 19 are of centre 0, and so on. The challenge's own test patients,
    100 to 199, have no public labels.

    Raises:
        DatasetError: no table, not all 500 nodes, a patient's pN stage that contradicts its nodes, or features missing.
        SplitError: `splits` that do not keep the test centres apart.
    """
    path = find_table(root, ["stages.csv", "stage_labels.csv"], name="camelyon17")
    stages = read_table(path)
    if not {"patient", "stage"} <= set(stages.columns):
        raise DatasetError(f"{path} is not the table of stages", found=f"columns {listed(stages.columns)}")
    names = stages["patient"].str.replace(r"\.(tif|zip)$", "", regex=True)
    nodes = stages.assign(slide=names)[names.str.fullmatch(_NODE) & (names.str[8:11] < "100")]
    nodes = nodes.assign(case=nodes["slide"].str[:11], label=nodes["stage"].str.lower())
    if nodes["slide"].nunique() != 500 or len(nodes) != 500 or not nodes["label"].isin(CLASSES).all():
        found = f"{nodes['slide'].nunique()} nodes, stages {listed(sorted(nodes['label'].unique()))}"
        raise DatasetError(f"{path} does not have the stages of the 500 labelled nodes", found=found)
    _check_patients(nodes, dict(zip(names, stages["stage"], strict=True)))
    centre = nodes["case"].str[8:].astype(int) // _PATIENTS_PER_CENTRE
    table = nodes.assign(site=centre.map("centre_{}".format), part=centre.map(lambda c: "test" if c > 2 else "train"))
    official = Official(
        "camelyon17",
        table[["slide", "case", "label", "site", "part"]],
        CLASSES,
        source="Bandi et al. 2019, doi:10.1109/TMI.2018.2867350; data Litjens et al. 2018",
        licence="CC0",
    )
    return load_official(official, Choices(features, features_encoder, splits, val_fraction, seed, partial))


def _check_patients(nodes: pd.DataFrame, stage: dict[str, str]) -> None:
    """Raise where a patient's stage is not the one its nodes give (Bandi 2019), if the table has it."""
    wrong = []
    for case, labels in nodes.groupby("case")["label"]:
        counts = labels.value_counts()
        itc, micro, macro = (int(counts.get(name, 0)) for name in CLASSES[1:])
        if macro:
            expected = "pN1" if micro + macro < 4 else "pN2"
        else:
            expected = "pN1mi" if micro else "pN0(i+)" if itc else "pN0"
        if stage.get(str(case), expected) != expected:
            wrong.append(f"{case} is {stage[str(case)]}, its nodes give {expected}")
    if wrong:
        raise DatasetError("stages of patients contradict those of their nodes", found=listed(wrong))


DATASET = load_camelyon17
