"""CLAM-MB: as CLAM-SB, with an attention row for each class."""

from asmil.models.parts.clam import CLAM

PAPER = (
    "Data-efficient and weakly supervised computational pathology on whole-slide images, "
    "Nature Biomedical Engineering 2021, arXiv 2004.09666"
)
ALIGNED = "The attention of each class over the tiles."


class CLAMMB(CLAM):
    """CLAM with a branch per class (Lu et al. 2021): row c pools the tiles for the logit of class c.

    The instance loss ranks the tiles by the row of the class it concerns. The bag's map is the plain mean of the rows,
    as the true class is not known at prediction; `scores` has them apart, and `embedding` is what all rows pooled, end
    to end. Options and deviations are those of `clam_sb`.

    Raises:
        ConfigError: an option out of its range.
        UnknownPartError: no attention normaliser of that name.
    """

    per_class = True


MODEL = CLAMMB
