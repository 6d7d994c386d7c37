"""Datasets without a file of their own, a row each: classic bags, folders of slides, and what the user has."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from asmil.bags.datasets import Dataset

ANDREWS = "http://www.cs.columbia.edu/~andrews/mil/data/MIL-Data-2002-Musk-Corel-Trec9.tgz"
MCILBOOST = "https://raw.githubusercontent.com/junyanz/MCILBoost/3527c580f3aab87d8a79bdd8a52f087567efc2cc/data/"
UCI = "Dietterich, Lathrop and Lozano-Perez 1997, UCI Machine Learning Repository, doi:10.24432/"


@dataclass(frozen=True)
class ClassicSet:
    """Classic bags of multiple-instance learning, the same from whichever of their files.

    `files` are the names it is looked for under, `urls` its homes, tried in turn; `member` its file in Andrews's
    archive. `content` is the SHA-256 of what the files say (`content_sha256`), whatever their form.
    """

    name: str
    about: str
    files: tuple[str, ...]
    urls: tuple[str, ...]
    content: str
    source: str
    licence: str
    member: str = ""

    def __call__(self, root: Path | None = None) -> "Dataset":
        """Load from `root` (a file, or a folder to look in), else from `ASMIL_DATA`, else from its home.

        Raises:
            DatasetError: nothing found, not downloadable, or the content is not that of the set.
        """
        from asmil.bags.dataset_files import load_classic  # needs torch, which the table does not

        return load_classic(self, root)


def _corel(name: str, *, about: str, content: str) -> ClassicSet:
    """A set of Andrews's Corel photographs, whose files all have one pattern of names."""
    text = f"{name.capitalize()}/data_100x100.svm"
    return ClassicSet(
        name=name,
        about=about,
        files=(f"{name}.npz", f"{name}.data", text, f"{name}_original", ANDREWS.rsplit("/", 1)[1]),
        urls=(ANDREWS, f"{MCILBOOST}{name}.data"),
        content=content,
        source="Andrews, Tsochantaridis and Hofmann 2002, from the Corel image collection",
        licence="none stated; research use",
        member=f"MilData/{text}",
    )


_SETS = (
    ClassicSet(
        name="musk1",
        about="MUSK1: 92 molecules as bags of 476 shapes of 166 distances, 47 are musks.",
        files=("musk1.npz", "clean1.data", "musk1_unscaled"),
        urls=("https://archive.ics.uci.edu/static/public/74/data.csv",),
        content="c4037b2868ae90c85796b6ddfaaaa575f9cfc683d9a1eafaa02acbb612d38909",
        source=f"{UCI}C5ZK5B",
        licence="CC BY 4.0",
    ),
    ClassicSet(
        name="musk2",
        about="MUSK2: 102 molecules as bags of 6598 shapes of 166 distances, 39 are musks.",
        files=("musk2.npz", "clean2.data", "musk2_original"),
        urls=("https://archive.ics.uci.edu/static/public/75/data.csv",),
        content="d38ae5b671ffbca3ed89956436850e4d2f3586775c5640585a69a02bf0452b67",
        source=f"{UCI}C51608",
        licence="CC BY 4.0",
    ),
    _corel(
        "elephant",
        about="ELEPHANT: 200 Corel photographs as bags of 1391 segments of 230 values, 100 show elephants.",
        content="b9d302f970d4281baaddf097aa778f54f21f407ab825b566d1ed36f980d7fa9c",
    ),
    _corel(
        "fox",
        about="FOX: 200 Corel photographs as bags of 1320 segments of 230 values, 100 show foxes.",
        content="82e62c2e523b75a72f39b513f4dbf3b2c9efef809d421ada8634a17aca29afc7",
    ),
    _corel(
        "tiger",
        about="TIGER: 200 Corel photographs as bags of 1220 segments of 230 values, 100 show tigers.",
        content="4e56afd977644b6344996c1a062f1a35b47808747b322c5ba70bc4099f7f1285",
    ),
)


@dataclass(frozen=True)
class SlideSet:
    """Slides with labels, of which the user makes features; annotations of the class `positive` tell true tiles."""

    name: str
    about: str
    positive: str
    source: str
    licence: str = "none stated; research use"

    def __call__(
        self, root: Path | None = None, *, features: str | Path | None = None, features_encoder: str | None = None
    ) -> "Dataset":
        """Load `features` (a folder that asmil made of the slides) with the tables in `root`, else in `ASMIL_DATA`.

        Raises:
            DatasetError: no data at `root`, or no features.
        """
        from asmil.bags.slide_sets import load_slides

        return load_slides(self, root, features, features_encoder=features_encoder)


_SLIDES = (
    SlideSet(
        name="colon",
        about="Colon: 100 H&E images of colorectal adenocarcinoma as slides (500 x 500 px at .55 um/px, each its own "
        "patient); is there any epithelial nucleus, as in 51 of them (points as truth).",
        positive="epithelial",
        source="Sirinukunwattana et al. 2016, CRCHistoPhenotypes, doi:10.1109/TMI.2016.2525803; label as in Ilse 2018",
    ),
    SlideSet(
        name="idc",
        about="IDC: 140 breast patients as slides of 50-px tiles at about 4 um/px; are at least 30 % of the tiles "
        "invasive carcinoma, as in 70 of them (tiles as truth).",
        positive="IDC",
        source="Cruz-Roa et al. 2014, doi:10.1117/12.2043872 (IDC_regular_ps50)",
    ),
)


@dataclass(frozen=True)
class OwnSet:
    """Features and a table of the user's own, as `asmil crossval` reads them."""

    name: str = "own"
    about: str = "Yours: features of any tool and a table of labels, for studies."

    def __call__(
        self,
        root: Path | None = None,
        *,
        features: str | Path | None = None,
        features_encoder: str | None = None,
        label_column: str = "label",
        slide_column: str | None = None,
        case_column: str | None = None,
        slide_table: str | Path | None = None,
        classes: Sequence[str] | None = None,
        spellings: Literal["ask", "same", "different"] = "ask",
        splits: str | Path | None = None,
        annotations: str | Path | None = None,
        positive: Sequence[str] = (),
    ) -> "Dataset":
        """Load what `root`, a table of labels, and `features` have in common; options as those of `asmil crossval`.

        Slides without a label or without features are named in the cohort's problems.

        Raises:
            DatasetError: no table, or no features.
            CohortError, SplitError: the table or the splits cannot be used.
        """
        from asmil.bags.datasets import Dataset, DatasetError
        from asmil.bags.labels import read_cohort
        from asmil.bags.loading import load_bags
        from asmil.bags.slide_sets import of_one_kind, open_made_features, usable
        from asmil.bags.split_files import read_splits
        from asmil.bags.tables import table_file

        if root is None or not table_file(root)[0].is_file():
            fix = "give root=PATH of a csv, tsv or xlsx"
            raise DatasetError("the table of labels is not found", found=root or "no root option", fix=fix)
        store = open_made_features(features, features_encoder, name=self.name, slides="SLIDES")
        cohort = read_cohort(
            root,
            slide_table=slide_table,
            label=label_column,
            slide_column=slide_column,
            case_column=case_column,
            classes=classes,
            spellings=spellings,
            features=store,
        )
        cohort = usable(store, cohort)
        made = None if splits is None else read_splits(splits, cohort)
        drawn = None if annotations is None else Path(annotations).expanduser()
        return Dataset(
            self.name,
            bags := load_bags(store, cohort),
            cohort,
            remarks=of_one_kind(store, bags),
            splits=made,
            annotations=drawn,
            positive=tuple(positive),
        )


ROWS = {one.name: one for one in (*_SETS, *_SLIDES, OwnSet())}
