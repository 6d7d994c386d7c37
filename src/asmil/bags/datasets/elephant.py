"""ELEPHANT: 200 Corel photographs as bags of 1391 segments of 230 values, 100 show elephants."""

from asmil.bags.datasets._classic import ANDREWS, MCILBOOST, ClassicSet

DATASET = ClassicSet(
    name="elephant",
    files=(
        "elephant.npz",
        "elephant.data",
        "Elephant/data_100x100.svm",
        "elephant_original",
        ANDREWS.rsplit("/", 1)[1],
    ),
    urls=(ANDREWS, MCILBOOST + "elephant.data"),
    content="b9d302f970d4281baaddf097aa778f54f21f407ab825b566d1ed36f980d7fa9c",
    source="Andrews, Tsochantaridis and Hofmann 2002, from the Corel image collection",
    licence="none stated; research use",
    member="MilData/Elephant/data_100x100.svm",
)
