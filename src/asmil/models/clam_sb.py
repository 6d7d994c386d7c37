"""CLAM-SB: gated attention, and a clustering of the most and least attended tiles as a second task."""

from asmil.models.parts.clam import CLAM

PAPER = (
    "Data-efficient and weakly supervised computational pathology on whole-slide images, "
    "Nature Biomedical Engineering 2021, arXiv 2004.09666"
)
ALIGNED = "The attention over the tiles, one row."


class CLAMSB(CLAM):
    """CLAM with a single attention branch (Lu et al. 2021): one row of gated attention pools for all classes.

    Options: `hidden` units of the attention, dim / 2 by default ("small" in the authors' code; "big" is 3 dim / 4);
    `dropout` on the embedded tiles and on both factors of the gate; `k` tiles of each kind in the instance loss,
    clipped to half the bag; `instance_loss` "svm" (the authors') or "ce"; `subtyping`, whether the classes exclude each
    other tile by tile; `bag_weight`, the share of the bag's loss.

    Deviations: the paper's total is .7 bag loss + .3 instance loss; here the bag's cross-entropy has weight 1, so the
    instance loss has .3/.7, which is the same up to the scale of the whole. The widths follow the features.

    Raises:
        ConfigError: an option out of its range.
        UnknownPartError: no attention normaliser of that name.
    """

    per_class = False


MODEL = CLAMSB
