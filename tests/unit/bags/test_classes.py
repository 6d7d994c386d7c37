"""Which of two classes is the positive one, told by their names: a word for what is there is no proof of it."""

import pytest

from asmil.bags import sorted_classes

BY_NAME = [
    ("NODRIVER", "DRIVER"),
    ("no driver", "driver"),
    ("non-tumor", "tumor"),
    ("not mutated", "mutated"),
    ("unmutated", "mutated"),
    ("wt", "mut"),
    ("wildtype", "mutated"),
    ("WT", "MUT"),
    ("wild type", "BRAF V600E"),
    ("negative for tumour", "tumour"),
    ("normal", "abnormal"),
    ("non-responder", "responder"),
    ("Nonresponder", "Responder"),
    ("stable", "unstable"),
    ("MSS", "MSI-H"),
    ("MSS", "MSI"),
    ("MSI-L", "MSI-H"),
    ("HER2-", "HER2+"),
    ("HER2 (-)", "HER2 (+)"),
    ("ER\u2212", "ER+"),
    ("0", "1+"),
    ("low", "high"),
    ("benign", "in situ"),
    ("in situ", "invasive"),
    ("benign", "invasive"),
    ("normal", "in situ"),
    ("pMMR", "dMMR"),
    ("MMR proficient", "MMR deficient"),
    ("intact", "lost"),
    ("ERneg", "ERpos"),
    ("KRASwt", "KRASmut"),
    ("TILlow", "TILhigh"),
    ("no", "yes"),
    ("nein", "ja"),
    ("absent", "present"),
    ("non-smoker", "smoker"),
    ("nonsmoker", "smoker"),
    ("never", "ever"),
    ("living", "deceased"),
    ("alive", "dead"),
    ("w/o metastasis", "metastasis"),
    ("without metastasis", "with metastasis"),
    ("NoTumor", "Tumor"),
    ("no tumor", "tumor"),
    ("tumor-free", "tumor"),
    ("N0", "N+"),
    ("unmethylated", "methylated"),
    ("undetected", "detected"),
    ("not detected", "detected"),
    ("inactive", "active"),
    ("False", "True"),
    ("control", "case"),
    ("healthy", "diseased"),
    ("NORMAL", "TUMOR"),
    ("benign", "Tumour"),
    ("Normal adjacent to tumor", "Primary Tumor"),
    ("uninvolved", "involved"),
    ("non-recurrence", "recurrence"),
    ("No Recurrence", "Recurrence"),
    ("non-invasive", "invasive"),
    ("noninvasive", "invasive"),
    ("non-malignant", "malignant"),
    ("HER2-zero", "HER2-high"),
    ("triple-negative", "luminal"),
    ("p16-negative", "p16-positive"),
    ("EGFR_WT", "EGFR_MUT"),
    ("mutation not detected", "mutation detected"),
    ("gutartig", "bösartig"),
    ("not elevated", "elevated"),
    ("node negative", "node positive"),
    ("stable", "not stable"),
    ("low grade", "high grade"),
    ("L", "H"),
    ("HPV-", "HPV+"),
    ("None", "RAS"),
    ("non-MSI", "MSI"),
    ("MSS", "non-MSS"),
    ("non-MSI-H", "MSI-H"),
    ("stable disease", "progressive disease"),
    ("none", "partial"),
    ("normal", "in-situ"),
    ("-", "+"),
]
"""The negative one first."""
BY_LETTERS = [
    ("LUAD", "LUSC"),
    ("distant", "nodal"),
    ("December", "November"),
    ("abacus", "unit"),
    ("missense", "nonsense"),
    ("lung", "uncommon primary"),
    ("abdomen", "chest"),
    ("Grade 1", "Grade 3"),
    ("infiltrating", "mixed"),
    ("HER2 1+", "HER2 2+"),
]
"""Names that begin or end as such words do and say nothing."""


@pytest.mark.parametrize("classes", BY_NAME, ids="|".join)
def test_the_positive_class_is_guessed_from_the_names(classes):
    assert sorted_classes(classes[::-1]) == (classes, "guessed from the names")


@pytest.mark.parametrize("classes", BY_LETTERS, ids="|".join)
def test_names_that_say_nothing_are_in_the_order_of_their_letters(classes):
    assert sorted_classes(classes[::-1]) == (classes, "the last by its letters")
