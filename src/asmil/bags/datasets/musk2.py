"""MUSK2: 102 molecules as bags of 6598 shapes of 166 distances, 39 are musks."""

from asmil.bags.datasets._classic import ClassicSet

DATASET = ClassicSet(
    name="musk2",
    files=("musk2.npz", "clean2.data", "musk2_original"),
    urls=("https://archive.ics.uci.edu/static/public/75/data.csv",),
    content="d38ae5b671ffbca3ed89956436850e4d2f3586775c5640585a69a02bf0452b67",
    source="Dietterich, Lathrop and Lozano-Perez 1997, UCI Machine Learning Repository, doi:10.24432/C51608",
    licence="CC BY 4.0",
)
