"""MUSK1: 92 molecules as bags of 476 shapes of 166 distances, 47 are musks."""

from asmil.bags.datasets._classic import ClassicSet

DATASET = ClassicSet(
    name="musk1",
    files=("musk1.npz", "clean1.data", "musk1_unscaled"),
    urls=("https://archive.ics.uci.edu/static/public/74/data.csv",),
    content="c4037b2868ae90c85796b6ddfaaaa575f9cfc683d9a1eafaa02acbb612d38909",
    source="Dietterich, Lathrop and Lozano-Perez 1997, UCI Machine Learning Repository, doi:10.24432/C5ZK5B",
    licence="CC BY 4.0",
)
