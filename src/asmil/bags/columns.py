"""What a table's columns, labels and patients are taken for: which plays which role, what else could, and spellings."""

import difflib
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, get_args

import pandas as pd
from pandas.api.types import is_string_dtype

from asmil.bags.tables import TWIN, listed
from asmil.errors import CohortError, as_typed, require_kind

Spellings = Literal["ask", "same", "different"]
"""What patients or classes are that differ only in how they are written: asked about, which is an error, or known."""

ROLES = {
    "slide": (
        *("slide", "slideid", "slidename", "slidefile", "slidefilename", "slidepath", "filename", "filenames", "wsi"),
        *("wsiid", "wsiname", "wsifile", "wsifilename", "imageid", "imagename", "imagefile", "imagefilename", "file"),
        *("filepath", "image", "scanid", "scan"),
    ),
    "case": (
        *("case", "caseid", "patient", "patientid", "casesubmitterid", "submitterid", "casename", "patientname"),
        *("patientnumber", "patientno", "patientnr", "patientcode", "patientbarcode", "bcrpatientbarcode"),
        *("patientidentifier", "patid", "pid", "subject", "subjectid", "subjectcode", "participant", "participantid"),
        *("donor", "donorid", "individual", "individualid", "mrn", "pseudonym", "casenumber", "caseno", "casenr"),
    ),
    "site": (
        *("site", "siteid", "sitename", "center", "centerid", "centre", "centreid", "hospital", "hospitalid"),
        *("institution", "institutionid", "institute", "tissuesourcesite", "clinic"),
    ),
    "mpp": ("mpp", "slidempp"),
    "fold": ("fold",),
    "part": ("part", "split", "partition", "subset", "set"),
    "verdict": ("verdict",),
}
"""Names of each role, in letters and digits; of those that a table has, the first here is taken."""
PART_OF = {
    **dict.fromkeys(("train", "training", "trainset"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "valset", "validationset", "dev", "tune", "tuning"), "val"),
    **dict.fromkeys(("test", "testing", "testset"), "test"),
}
"""What the parts of a fold are called, in letters and digits."""
LABEL = "label"
"""The column of labels where none is named."""
FLAGS = {"slide": "--slide-column", "case": "--case-column", "site": "--site-column", "label": "--label"}

_WHO = re.compile(r"patient|subject|case|mrn|donor|participant|individual|person|pseudonym|accession|specimen|sample")
_NO_NAME = re.compile(
    r"age|sex|gender|race|ethnic|status|stage|grade|date|year|month|day|time|score|count|size|weight|height|type|note"
)
_NUMBERED = re.compile(r"(?!\d{4}[-/.]\d\d)(?=.*\d{3})[\w./ -]*$|\d{5,}$")


def plain(name: str) -> str:
    """The letters and digits of a name, in lower case: by these columns are compared."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", TWIN.sub("", str(name))).casefold()))


def known_names(cells: Iterable[str]) -> list[str]:
    """Those of the cells that are usual names of columns of slides, patients, sites and labels."""
    known = {LABEL, *(name for role in ("slide", "case", "site") for name in ROLES[role])}
    return [cell for cell in cells if plain(cell) in known]


def candidates(table: pd.DataFrame, role: str) -> list[str]:
    """The columns that a role's names fit, the likeliest first."""
    by_name = {name: [column for column in table.columns if plain(column) == name] for name in ROLES[role]}
    return [column for columns in by_name.values() for column in columns]


def find_column(table: pd.DataFrame, role: str, override: str | None = None) -> str | None:
    """The column that plays a role, None where there is none.

    Raises:
        CohortError: the named `override` is not in the table, or there are columns of other cells under the name that
            is looked for; of such, one that is named to the letter is meant, but for `LABEL`, which nobody has to name.
    """
    require_kind(override, (str, type(None)), called=f"the column of the {role}", fix="give its name")
    if override is None:
        found = candidates(table, role) if role in ROLES else []
    elif override in table.columns:
        found = [override]
    else:
        found = [column for column in table.columns if plain(column) == plain(override)]
        if not found:
            close = difflib.get_close_matches(override.casefold(), [c.casefold() for c in table.columns], n=1)
            meant = next((c for c in table.columns if close and c.casefold() == close[0]), None)
            with_flag = f" with {FLAGS[role]}" if role in FLAGS else ""
            raise CohortError(
                f"the table has no column {override!r}",
                found=f"columns {listed(table.columns, 12)}",
                fix=f"did you mean {meant!r}?" if meant else f"name the {role} column{with_flag}",
            )
    twins = [*found[:1], *(unlike(table, found[0]) if found else ())]
    if len(twins) > 1 and (override not in table.columns or override == LABEL):
        flag = FLAGS.get(role, f"the column of the {role}")
        raise CohortError(
            f"the table has several columns {TWIN.sub('', twins[0])!r} of different cells",
            found=listed(twins),
            fix=f"name one with {flag}, for example {as_typed(twins[-1])}, or take the other out",
        )
    return found[0] if found else None


def find_label(table: pd.DataFrame, named: Mapping[str, str | None], *, slides_too: bool) -> str | None:
    """The column of the labels; where the one of the slides is due and missing too, as in a table of another language,
    the error says both at once."""
    try:
        return find_column(table, "label", named["label"])
    except CohortError as error:
        if not slides_too or named["slide"] is not None or candidates(table, "slide"):
            raise
        fix = f"{error.fix}, and that of the slides with {FLAGS['slide']}"
        raise CohortError(error.what, found=error.found, fix=fix) from error


def used_columns(table: pd.DataFrame, named: Mapping[str, str | None]) -> set[str]:
    """The columns that a cohort is read from, as far as they are known: those `named` by role, else of usual names.

    Where none names the patients, those that may do so are among them.
    """
    found: dict[str, str | None] = {}
    for role, override in {"mpp": None, "verdict": None, **named}.items():
        with suppress(CohortError):  # whoever reads the column says what is wrong
            if role in ROLES or override is not None:
                found[role] = find_column(table, role, override)
    used = {column for column in found.values() if column is not None}
    if found.get("case") is None:
        used |= {column for column in table.columns if _has_names(column, table[column][table[column] != ""])}
    return used


def unlike(table: pd.DataFrame, column: str) -> list[str]:
    """The other columns that are called as this one is, by their letters and digits, and have other cells."""
    own = table[column]
    others = [name for name in table.columns if name != column and plain(name) == plain(column)]
    return [name for name in others if not table[name].equals(own)]


@dataclass(frozen=True)
class Reading:
    """How a table was understood: by role the column, and which others its names fit too; remarks on classes."""

    columns: dict[str, str] = field(default_factory=dict)
    also: dict[str, tuple[str, ...]] = field(default_factory=dict)
    positive: str = ""

    def line(self, *, labelled: bool = True) -> str:
        """The roles in one line; not `labelled`, without the label, where a task names columns of its own."""
        said, roles = [], {"slide": "slide", "case": "patient", "label": "label", "site": "site"}
        if not labelled:
            del roles["label"]
        for role, name in roles.items():
            others = f" (also possible: {listed(self.also[role])})" if self.also.get(role) else ""
            said.append(f"{name} = {self.columns.get(role) or 'none'}{others}")
        return ", ".join(said)


def require_no_other_patient(
    table: pd.DataFrame, own: pd.Series, *, case: str | None, used: Iterable[str | None]
) -> None:
    """Refuse a table in which another column may name the patients, and keeps rows together that `own` parts.

    Args:
        own: the patient of each row, as it is understood.
        case: the column that says so, None where it is the slide's name.
        used: the slide's column first, then others that have another role.

    Raises:
        CohortError: there is one; it takes a person to say.
    """
    used, known = [column for column in used if column is not None], set(candidates(table, "case"))
    for column in filter(lambda name: is_string_dtype(table[name]), table.columns):  # numbers of a task name nobody
        cells = table[column]
        if column in (case, *used) or not (column in known or _may_name_patients(column, cells, case)):
            continue
        filled = cells != ""
        parted = own[filled].groupby(cells[filled]).nunique()
        if (parted > 1).any():
            name, count = parted.idxmax(), parted.max()
            one, other = as_typed("--case-column", column), as_typed("--case-column", case or used[0])
            told = f"values of {case!r}" if case is not None else "slides, and no column is known to name the patients"
            raise CohortError(
                f"column {column!r} may name the patients, and is not used",
                found=f"{name!r} has {count} {told}",
                fix=f"{one} if it does, else {other}",
            )


def _may_name_patients(column: str, cells: pd.Series, case: str | None) -> bool:
    """Whether an unused column seems to hold names that come again: by its own name or, without `case`, its cells."""
    filled = cells[cells != ""]
    distinct = filled.nunique()
    if len(filled) < max(3, len(cells) / 2) or not max(2, len(filled) / 8) <= distinct < len(filled):
        return False
    if _WHO.search(plain(column)) or case is not None:
        return not _NO_NAME.search(plain(column)) and bool(_WHO.search(plain(column)))
    return distinct >= len(filled) / 5 and _has_names(column, filled)


def _has_names(column: str, filled: pd.Series) -> bool:
    """Whether a column is called as one of persons is, or its cells look like their numbers."""
    if _NO_NAME.search(plain(column)):
        return False
    return bool(_WHO.search(plain(column)) or (len(filled) and filled.str.fullmatch(_NUMBERED).mean() >= 0.8))


def require_few_classes(labels: pd.Series, column: str) -> None:
    """Refuse a column in which most slides have a label of their own.

    Raises:
        CohortError: it is one: names, or numbers of another task.
    """
    classes = labels.unique()
    if len(classes) > max(MOST_CLASSES, len(labels) / 2):
        raise CohortError(
            f"column {column!r} has a class of its own for most slides",
            found=f"{len(classes)} classes of {len(labels)} slides: {listed(classes, 3)}",
            fix=f"name another column with --label, or learn numbers: {as_typed('--task', 'regression')} --target ...",
        )


MOST_CLASSES = 20
"""As many classes no table is asked about."""

# Spellings: patients and classes that are the same but for how they are written.


def person_key(name: str) -> str:
    """What remains of a patient's name without case, punctuation, zeros in front and a spreadsheet's `.0`."""
    text = re.sub(r"^(\d+)\.0$", r"\1", unicodedata.normalize("NFKC", name).casefold())
    pieces = [piece.lstrip("0") or "0" if piece.isdigit() else piece for piece in re.findall(r"\d+|[^\W\d_]+", text)]
    # what parts two numbers is kept: 1-11 is not 11-1
    joined = "".join(f"-{p}" if p.isdigit() and i and pieces[i - 1].isdigit() else p for i, p in enumerate(pieces))
    return joined or text


def class_key(name: str) -> str:
    """What remains of a class's name without case, blanks, underscores and hyphens in it; of a number its value."""
    text = re.sub(r"[\s_]+|(?<=[^\W\d])[-\u2010-\u2013](?=[^\W\d])", "", unicodedata.normalize("NFKC", name).casefold())
    try:
        return repr(float(text)) if re.fullmatch(r"[-+]?\d+(\.\d*)?", text) else text
    except (ValueError, OverflowError):
        return text


def spelled_alike(names: Iterable[str], *, patients: bool) -> list[list[str]]:
    """Groups of names that differ only in how they are written."""
    groups: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        groups.setdefault(person_key(name) if patients else class_key(name), []).append(name)
    if patients:  # a long number may be written in parts: 2020-001 is 2020001
        for key in [key for key in groups if "-" in key]:
            whole = plain(groups[key][0])
            if whole in groups and re.search(r"\d{6}", whole):
                groups[whole] += groups.pop(key)
    return [group for group in groups.values() if len(group) > 1]


def told_alike(groups: Iterable[Iterable[str]]) -> str:
    """Groups of names in one line."""
    return listed(" and ".join(map(repr, group)) for group in groups)


def one_spelling(cells: pd.Series, spellings: Spellings, *, patients: bool) -> pd.Series:
    """The cells with one spelling of each name, as was said, or as they are.

    Raises:
        CohortError: there are several of one name, and nobody said what they are; or no such word for it.
    """
    if spellings not in get_args(Spellings):  # a word in a study's file, say, by which classes would be merged
        raise CohortError("spellings cannot be this word", found=spellings, fix="ask, same or different")
    alike = [] if spellings == "different" else spelled_alike(cells[cells != ""], patients=patients)
    if alike and spellings == "ask":
        what = "patients" if patients else "classes"
        fix = f"correct the table, or give --spellings same, or --spellings different where they are different {what}"
        raise CohortError(
            f"{what} differ only in how they are written",
            found=told_alike(alike),
            fix=fix,
        )
    counts = cells.value_counts()
    common = {name: max(group, key=lambda one: counts[one]) for group in alike for name in group}
    return cells.map(lambda name: common.get(name, name))


# Classes, and which of two is the positive one.

WHOLE = 2.0**53
"""From here on a number of a spreadsheet is not known to the last digit."""
UNKNOWN = {
    *("unknown", "missing", "blank", "pending", "tbd", "nd", "nk", "ka", "undetermined", "indeterminate", "unclear"),
    *("notassessed", "notavailable", "notdetermined", "notdone", "notevaluable", "notevaluated", "notknown"),
    *("notperformed", "performedbutnotavailable"),
    *("notreported", "notspecified", "nottested", "unbekannt", "nichtbekannt", "keineangabe", "keineangaben", "unklar"),
}
"""Words for what is not known, in letters and digits; so is what has none, as `?`."""
NOT = {"no", "non", "not", "without", "never", "lacks", "lacking", "absence", "kein", "keine", "nicht", "ohne"}
"""Words that turn what is said with them."""
NEGATIVE = {
    *("neg", "negative", "normal", "benign", "healthy", "control", "wt", "wildtype", "wild", "low", "l", "zero"),
    *("absent", "false", "none", "mss", "pmmr", "proficient", "intact", "stable", "free", "alive", "living"),
    *("inactive", "nein", "gesund", "gutartig", "negativ"),
}
POSITIVE = {
    *("pos", "positive", "tumor", "tumour", "cancer", "malignant", "malignancy", "carcinoma", "adenocarcinoma"),
    *("metastasis", "metastases", "metastatic", "mut", "mutated", "mutant", "mutation", "high", "h", "present", "true"),
    *("yes", "msi", "msih", "dmmr", "deficient", "responder", "response", "dead", "deceased", "case", "disease"),
    *("diseased", "invasive", "affected", "involved", "detected", "methylated", "active", "ja", "positiv", "krank"),
    *("recurrence", "relapse", "progression"),
}
"""Words of two classes by which one is known as the positive one."""
_GLUED = re.compile(r"(non|no|un|ab)(?=(.+)$)")
_SHORT = re.compile(r"[A-Z]{2,}(?=[a-z]+$)")


def canonical_labels(cells: pd.Series) -> pd.Series:
    """Labels as text, with 1 and 1.0 (as spreadsheets write whole numbers) the same."""
    numbers = pd.to_numeric(cells, errors="coerce")
    whole = len(cells) > 0 and (numbers.abs() < WHOLE).all() and (numbers == numbers.round()).all()
    return numbers.astype("int64").astype(str) if whole else cells


def sorted_classes(labels: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """The distinct labels in their order, and how the last of two is known as the positive one.

    By number where all are numbers; of two with a word that says which is positive, that one last; else by text.
    """
    distinct = sorted(set(labels), key=lambda name: (name.casefold(), name))
    numbers = pd.to_numeric(pd.Series(distinct, dtype=object), errors="coerce")
    if numbers.notna().all():
        return tuple(sorted(distinct, key=float)), "the larger number"
    if len(distinct) == 2:
        leaning = {name: _leaning(name, other) for name, other in zip(distinct, distinct[::-1], strict=True)}
        if len({*leaning.values()}) == 2:
            return tuple(sorted(distinct, key=leaning.__getitem__)), "guessed from the names"
    return tuple(distinct), "the last by its letters"


def _leaning(name: str, other: str) -> int:
    """1 where the name of a class says that it is the positive one beside the other, -1 where the other is, else 0."""
    words = re.findall(r"[^\W\d_]+", _SHORT.sub(r"\g<0> ", name).casefold().replace("w/o", "without"))
    signs, turned = [sign for word in words if (sign := _sign(word))], not NOT.isdisjoint(words)
    if turned:
        return 1 if signs and max(signs) < 0 else -1  # not stable; but not mutated, no driver
    if signs:
        return min(signs)  # of "negative for tumour", and of "normal beside tumour"
    if (last := name.rstrip(" )]}")[-1:]) and last in "-\u2010\u2011\u2012\u2013\u2212+":
        return 1 if last == "+" else -1
    bare = re.sub(r"^(non|not|no|un)", "", plain(name))
    return -1 if bare != plain(name) and bare == plain(other) else 0  # NODRIVER beside DRIVER


def _sign(word: str) -> int:
    """Of a word for what is there or high 1, of one for the opposite -1, else 0; "unstable" is the opposite of one."""
    sign = (word in POSITIVE) - (word in NEGATIVE)
    glued = _GLUED.match(word)
    return sign if sign or glued is None else (glued[2] in NEGATIVE) - (glued[2] in POSITIVE)


def require_known_patients(cases: pd.Series) -> None:
    """Refuse words for "unknown" as the patient of several slides; short ones may be initials.

    Raises:
        CohortError: there are such words: the slides would be of one patient.
    """
    counts = cases[cases != ""].value_counts()
    words = {word for word in UNKNOWN if len(word) > 3} | {"none", ""}
    if found := [f"{n} slides of {name!r}" for name, n in counts.items() if n > 1 and plain(str(name)) in words]:
        raise CohortError(
            "a word for what is not known would be one patient",
            found=listed(found),
            fix="name the patient of each slide, or leave these rows out; --spellings different where it is a name",
        )


def require_known(labels: Collection[str], label: str) -> None:
    """Refuse words for "unknown" as classes that nobody asked for.

    Raises:
        CohortError: there are such words; they may be a class, which `classes` says.
    """
    words = UNKNOWN if any("+" in name for name in labels) else UNKNOWN | {""}
    found = sorted({name for name in labels if plain(name) in words})
    if found:
        rest = sorted(set(labels) - set(found))
        raise CohortError(
            f"column {label!r} has words for what is not known among its classes",
            found=listed(map(repr, found)),
            fix=f"empty these cells, or name the classes that are meant: {as_typed('--classes', ','.join(rest[:6]))}",
        )
