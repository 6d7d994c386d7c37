"""TIGER: 200 Corel photographs as bags of 1220 segments of 230 values, 100 show tigers."""

from asmil.bags.datasets._classic import ANDREWS, MCILBOOST, ClassicSet

DATASET = ClassicSet(
    name="tiger",
    files=("tiger.npz", "tiger.data", "Tiger/data_100x100.svm", "tiger_original", ANDREWS.rsplit("/", 1)[1]),
    urls=(ANDREWS, MCILBOOST + "tiger.data"),
    content="4e56afd977644b6344996c1a062f1a35b47808747b322c5ba70bc4099f7f1285",
    source="Andrews, Tsochantaridis and Hofmann 2002, from the Corel image collection",
    licence="none stated; research use",
    member="MilData/Tiger/data_100x100.svm",
)
