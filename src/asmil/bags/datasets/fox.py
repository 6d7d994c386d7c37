"""FOX: 200 Corel photographs as bags of 1320 segments of 230 values, 100 show foxes."""

from asmil.bags.datasets._classic import ANDREWS, MCILBOOST, ClassicSet

DATASET = ClassicSet(
    name="fox",
    files=("fox.npz", "fox.data", "Fox/data_100x100.svm", "fox_original", ANDREWS.rsplit("/", 1)[1]),
    urls=(ANDREWS, MCILBOOST + "fox.data"),
    content="82e62c2e523b75a72f39b513f4dbf3b2c9efef809d421ada8634a17aca29afc7",
    source="Andrews, Tsochantaridis and Hofmann 2002, from the Corel image collection",
    licence="none stated; research use",
    member="MilData/Fox/data_100x100.svm",
)
