"""What decides the results of a run, as identity.json keeps it, and in words what of it changed since."""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from asmil.errors import FeatureError, RunError, as_typed
from asmil.files import Facts
from asmil.progress import Listener, Outcome
from asmil.settings.inputs import note_tables, places_for, splits_of
from asmil.settings.reading import BEFORE
from asmil.settings.settings import ABOUT, Settings

if TYPE_CHECKING:
    from pandas import DataFrame

    from asmil.bags import Cohort, FeatureStore, Fingerprint, Splits
    from asmil.runs import Run  # which is a room above, and only named here

"""Settings by name; `data` (cohort, splits, features), once there is something to learn from; and `code`, the version
and commit that the run was begun with, which is only to be looked at. Older runs have the settings alone."""

Kind = Literal["extraction", "training", "cohort", "features"]
CLASSIFICATION = "classification"


class Change(NamedTuple):
    """Something that is not as it was: settings of extraction or training, slides and labels, or features."""

    kind: Kind
    text: str


def settings_identity(settings: Settings) -> dict[str, object]:
    """The settings that have to be the same; those of extraction only where features are not given but made."""
    wanted = {"training"} if settings.features else {"training", "features"}
    values = settings.model_dump(mode="json")
    return {name: values[name] for name, about in ABOUT.items() if about.decides in wanted}


def data_identity(
    cohort: "Cohort", splits: "Splits", store: "FeatureStore", *, contents: Mapping[str, list[object]] | None = None
) -> Facts:
    """What a run learns from: who is in it with which label, in which part of which fold, and a digest of every bag.

    `contents` are those of slides that were looked at already.
    """
    seen = contents or {}
    return {
        **tables_identity(cohort.table, splits.table),
        "task": task_facts(cohort),
        "tables": cohort.reading.line(labelled=cohort.task is None),
        "features": {slide: seen.get(slide) or _content(store, slide) for slide in sorted(cohort.slides)},
    }


def tables_identity(cohort: "DataFrame", splits: "DataFrame") -> Facts:
    """Who is in a run with which label, in which part of which fold: of the tables, or of their files."""
    rows = cohort.sort_values("slide").to_dict("records")
    columns = [name for name in ("case", "label", "site") if name in cohort]
    targets = sorted(str(name) for name in cohort if str(name).startswith("target_"))
    table = splits.sort_values(["fold", "slide"])[["slide", "fold", "part"]].to_csv(index=False)
    return {
        "cohort": {str(row["slide"]): [str(row[name]) for name in [*columns, *targets]] for row in rows},
        "splits": blake2b(table.encode(), digest_size=16).hexdigest(),
    }


def task_facts(cohort: "Cohort") -> Facts:
    """What is predicted, by the name of the task and its options, of classification the classes in their order."""
    task = cohort.task
    options = {"classes": list(cohort.classes)} if task is None else task.options()
    return json.loads(json.dumps({"name": task.name if task else CLASSIFICATION, "options": options}))


def compare(before: Facts, now: Facts) -> list[Change]:
    """What changed, in words. What either side does not say is not compared.

    A setting that an old run does not name is younger than it, and was its default or what `BEFORE` says of then.
    """
    extracts, extracted = (any(_kind(n) == "extraction" for n in one if n in ABOUT) for one in (now, before))
    if extracts and not extracted:
        return [Change("extraction", "its features were given, and are to be extracted from slides now")]
    changes = [Change(_kind(name), text) for name, text in _changed_settings(before, now)]
    old, new = before.get("data", {}), now.get("data", {})
    if "cohort" in old and "cohort" in new:
        changes += [Change("cohort", text) for text in _changed_cohort(old["cohort"], new["cohort"])]
        if old.get("splits") != new.get("splits") and old["cohort"].keys() == new["cohort"].keys():
            changes.append(Change("cohort", "slides are in other folds or parts than they were"))
        if "task" in old and "task" in new and old["task"] != new["task"]:
            changes.append(Change("cohort", f"the task was {old['task']}, is {new['task']}"))
        changes += [Change("features", text) for text in _changed_features(old.get("features", {}), new["features"])]
    return changes


def lacks_data(identity: Facts) -> bool:
    """Whether a run is so old that it does not say which features it was trained on."""
    return "features" not in identity.get("data", {})


UNKNOWN_FEATURES = "this run is of an older asmil: that its features are those it was trained on is not known"


def changed_features(identity: Facts, store: "FeatureStore", slides: Iterable[str]) -> str:
    """Which slides of a run have other features in a store than it was trained on, in words; empty where none has.

    Of `slides`, which are about to be read, a digest is taken (`FeatureStore.content`); of all others what files say
    unread is compared. Left out are features that are not at hand, and damaged ones: reading those tells more.
    """
    known, wanted, other = identity.get("data", {}).get("features", {}), set(slides), []
    for slide in (slide for slide in known if slide in store):
        found: list[object] = [None, *(store.shape(slide) or known[slide][1:3])]
        if slide in wanted:
            with suppress(FeatureError):
                found = _content(store, slide, known[slide])
        if found[1:] != known[slide][1 : len(found)]:
            other.append(slide)
    return _of_slides("the features of", other, "changed after training") if other else ""


def learned_from(
    run: "Run", labelled: "Cohort", store: "FeatureStore", *, settings: Settings, outcome: Outcome, hear: Listener
) -> tuple["Cohort", "Splits", Facts]:
    """The slides that a run learns from, their folds, and what identifies both.

    Features that it has not learned from yet are read before it is bound to them. A slide whose features cannot be
    learned from is set aside, as one without features is.

    Raises:
        FeatureError: no slide can be learned from, or one no more that it has learned from.
        RunError: it has learned from something else; what changed is named.
        SplitError: slides of the same content are in different parts of a fold, unless `allow_duplicates`.
        CohortError: no slide has both a label and features.
    """
    from asmil.bags import find_twins, odd_tiles, require_apart

    before = run.identity.get("data", {}) if run.begun else {}
    cohort = labelled.match(store.slides, unreadable=store.problems)
    prints, unchanged = _read_new(store, cohort.slides, before.get("features", {}), hear)
    for sentence in odd_tiles(prints, places_for=places_for(settings)):
        hear.warn(sentence)
    cohort = labelled.match(store.slides, unreadable=store.problems)
    note_tables(outcome, labelled=labelled, matched=cohort, store=store)
    splits = splits_of(settings, cohort)
    for sentence in splits.remarks(cohort):
        hear.warn(sentence)
    twins = before.get("twins")  # None of an older run, which was not looked through
    data = data_identity(cohort, splits, store, contents=unchanged)
    if prints:
        # what changed tells more than that some of it is alike
        _require_unchanged(run, settings_identity(settings) | {"data": data})
        twins = require_apart(splits, find_twins(prints, store.array), allow=settings.allow_duplicates)
        for sentence in twins:
            hear.warn(sentence, fix="keep one of each two")
    return cohort, splits, data | {"twins": twins}


def _read_new(
    store: "FeatureStore", slides: Sequence[str], known: Facts, hear: Listener
) -> tuple[Mapping[str, "Fingerprint"], Facts]:
    """Read the slides that are not as they are `known`, and set those aside that cannot be learned from.

    Returns:
        The fingerprints of those that were read, and what is known of the others.
    """
    from asmil.bags import listed, require_one_encoder, require_one_size, several_scales

    unchanged: Facts = {}
    for slide in slides:
        with suppress(FeatureError):  # reading it whole tells why
            if slide in known and known[slide] == _content(store, slide, known[slide]):
                unchanged[slide] = known[slide]
    new = [slide for slide in slides if slide not in unchanged]
    if not new:
        return {}, unchanged
    with hear.stage("read the features", total=len(new)) as advance:
        prints, wrong = store.read_through(new, progress=advance)
    if len(wrong) == len(slides) or any(problem.slide in known for problem in wrong):
        raise FeatureError(
            f"{len(wrong)} of {len(slides)} slides have features that cannot be learned from",
            found=listed([problem.what for problem in wrong], 3),
            fix="extract these slides again, and give the same command",
        )
    store.set_aside(wrong)
    infos = [store.info(slide) for slide in prints]
    require_one_encoder(infos)
    for sentence in [*several_scales(infos), *require_one_size(prints)]:
        hear.warn(sentence)
    return prints, unchanged


def _content(store: "FeatureStore", slide: str, known: Sequence[object] = ()) -> list[object]:
    """File, tiles, width and digest; the digest by the rule of the one that is known."""
    found = store.content(slide, like=str(known[3]) if known else "")
    return [found.file, found.tiles, found.width, found.digest]


def go_on(run: "Run", now: Facts, hear: Listener) -> None:
    """Write into a run who it is, or that it is the same; nothing that it holds may have been made from something else.

    Raises:
        RunError: it was; what changed is named, and what to do.
    """
    _require_unchanged(run, now)
    before = run.identity
    if run.begun and lacks_data(before) and "data" in now:
        hear.note(UNKNOWN_FEATURES)
        now = {name: value for name, value in now.items() if name != "data"}  # `set_data` compares the tables' files
    kept = {name: before[name] for name in ("code", "data") if name in before}
    older = run.begun and "code" not in before  # whose cells have no seals: `Run.standing` tells it by this
    written = ({} if older else {"code": run.code}) | kept | now
    run.write_identity({name: written[name] for name in (*ABOUT, "data", "code") if name in written})


def _require_unchanged(run: "Run", now: Facts) -> None:
    before = run.identity
    if run.begun and not before:
        raise RunError(
            f"{run.folder} holds models, and nothing that says what made them",
            found="no identity.json",
            fix="put the run's own back from a copy of the folder, or choose another --out",
        )
    # empty: features of `asmil embed`, perhaps, which are kept or passed over by their store
    holds = {"extraction"} if run.extracted or run.begun else set()
    holds |= {"training", "cohort", "features"} if run.begun else set()
    changes = [change for change in compare(before, now) if change.kind in holds] if before else []
    require_same(run.folder, changes, features=run.features if run.extracted else None)


def require_same(folder: Path, changes: Sequence[Change], *, features: Path | None) -> None:
    """Refuse to go on with a run that something was changed of, and say what to do without losing features.

    Args:
        features: the folder of the features that the run extracted; None: it was given them.

    Raises:
        RunError: there are changes; they are named.
    """
    if not changes:
        return
    kinds = {change.kind for change in changes}
    shown = [change.text for change in changes[:8]]
    more = f"; and {len(changes) - 8} more" if len(changes) > 8 else ""
    anew = (
        "choose another --out"
        if features is None
        else f"{as_typed('--features', features)} --out NEW trains on the same features"
    )
    if "extraction" in kinds:
        what, fix = "was made with other settings", "choose another --out: other tiles need features of their own"
    elif kinds == {"features"}:
        what = "was trained on other features"
        fix = f"{anew.replace('the same features', 'them as they are now')}; or put the old ones back"
    elif "training" in kinds:
        what, fix = "was made with other settings", anew
    else:
        what, fix = "was made from other slides or labels", anew
    raise RunError(f"the run in {folder} {what}", found="; ".join(shown) + more, fix=fix)


def _kind(name: str) -> Kind:
    return "extraction" if ABOUT[name].decides == "features" else "training"


def _changed_settings(before: Facts, now: Facts) -> Iterable[tuple[str, str]]:
    defaults = Settings().model_dump(mode="json") | BEFORE
    for name in ABOUT:
        if name in now and (was := before.get(name, defaults[name])) != now[name]:
            yield name, f"{name} was {_value(was)}, is {_value(now[name])}"


def _value(value: object) -> str:
    return repr(value) if isinstance(value, str) else str(value)


def _changed_cohort(before: Facts, now: Facts) -> Iterable[str]:
    added, gone = sorted(now.keys() - before.keys()), sorted(before.keys() - now.keys())
    if added:
        yield _of_slides("new:", added)
    if gone:
        yield _of_slides("gone:", gone)
    other = [slide for slide in sorted(before.keys() & now.keys()) if before[slide] != now[slide]]
    if other:
        first = other[0]
        was, now_is = ", ".join(before[first]), ", ".join(now[first])
        yield f"{_of_slides('other patient, label, site or targets:', other)} ({first} was {was}; is {now_is})"


def _changed_features(before: Facts, now: Facts) -> Iterable[str]:
    other = [slide for slide in sorted(before.keys() & now.keys()) if before[slide][1:] != now[slide][1:]]
    if other:
        yield _of_slides("the features of", other, "changed after training")


def _of_slides(head: str, slides: Sequence[str], tail: str = "") -> str:
    count = "1 slide" if len(slides) == 1 else f"{len(slides)} slides"
    more = f" and {len(slides) - 5} more" if len(slides) > 5 else ""
    return f"{head} {count}{f' {tail}' if tail else ''}: {', '.join(slides[:5])}{more}"
