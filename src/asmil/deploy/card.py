"""A card of a run's model: data, validation, encoder, preprocessing, use and limits, from facts in the run only."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from asmil.deploy.ensemble import Ensemble
from asmil.encoders import card as encoder_card
from asmil.errors import AsmilError
from asmil.evaluation import of_folds
from asmil.files import Facts, write_json, write_text
from asmil.models import model_info
from asmil.settings import ABOUT, Group
from asmil.shown import number
from asmil.training import EPOCHS, weight_decay_of

UNKNOWN = "not known"
CALIBRATION = ("ece", "brier", "log_loss")


def model_card(ensemble: Ensemble) -> dict[str, object]:
    """What there is to say about the models of a run, by section; None is what the run does not know.

    Raises:
        RunError: the run was not evaluated, or not with these models.
    """
    ensemble.run.require_results(partial=bool(ensemble.partial))
    metrics = ensemble.run.metrics
    return {
        "model": _model(ensemble),
        "intended_use": _use(ensemble),
        "data": _data(ensemble),
        "validation": _validation(metrics),
        "calibration": _calibration(metrics),
        "encoder": _encoder(ensemble),
        "preprocessing": _preprocessing(ensemble),
        "training": _training(ensemble),
        "warnings_in_use": _warnings(ensemble),
        "limits": _limits(ensemble, metrics),
        "made_with": _made_with(ensemble),
        "weights_sha256": {member.name: member.digest for member in ensemble.members},
    }


def write_card(ensemble: Ensemble, path: str | Path) -> tuple[Path, Path]:
    """Write the card as markdown to `path`, and as JSON beside it.

    Raises:
        RunError: the run was not evaluated.
    """
    path = Path(path).with_suffix(".md")
    card = model_card(ensemble)
    write_json(path.with_suffix(".json"), card)
    write_text(path, markdown(card))
    return path, path.with_suffix(".json")


def markdown(card: Facts) -> str:
    """The card for a person: sentences as paragraphs, facts as tables."""
    parts = [f"# Model card: {card['model']['name']} ({', '.join(card['model']['classes'])})"]
    for title, content in card.items():
        parts.append(f"## {_words(title).capitalize()}")
        if isinstance(content, Mapping):
            rows = [f"| {_cell(_words(name))} | {_cell(_shown(value))} |" for name, value in content.items()]
            parts.append("\n".join(["| | |", "|---|---|", *rows]))
        else:
            parts.append("\n".join(f"- {sentence}" for sentence in content))
    return "\n\n".join(parts) + "\n"


def _model(ensemble: Ensemble) -> dict[str, object]:
    config, info = ensemble.run.settings, model_info(ensemble.run.settings.model)
    return {
        "name": info.name,
        "what_it_is": info.description,
        "source": info.paper or None,
        "classes": list(ensemble.classes),
        "members": len(ensemble.members),
        "parameters_of_a_member": sum(p.numel() for p in ensemble.members[0].model.parameters()),
        "options": config.model_options or "defaults",
        "stabiliser": _settings(ensemble, Group.STABILISER) if config.stabilize else "none",
        "digest": ensemble.digest,
    }


def _settings(ensemble: Ensemble, group: Group) -> dict[str, object]:
    """The run's settings of a group; "none" says that something is not done."""
    values = {name: getattr(ensemble.run.settings, name) for name, about in ABOUT.items() if about.group is group}
    return {name: "none" if value is None else value for name, value in values.items()}


def _training(ensemble: Ensemble) -> dict[str, object]:
    """How the models were trained; of what was not given that which was done instead."""
    run, values = (
        ensemble.run.settings,
        _settings(ensemble, Group.TRAINING) | {"precision": ensemble.run.settings.precision},
    )
    if run.epochs is None:
        values["epochs"] = f"{EPOCHS}, or as many as min_steps take where these are more"
    values["weight_decay"] = weight_decay_of(ensemble.members[0].model, run.weight_decay)
    del values["seeds"]  # the members are named
    return values


def _use(ensemble: Ensemble) -> list[str]:
    return [
        f"Research: it gives a slide the probabilities of {', '.join(ensemble.classes)}, and every tile its share of "
        "the attention.",
        "It is not a medical device and has no clearance for diagnosis. Nobody may be treated by it alone.",
        "Slides must be like those it was trained on (see data, preprocessing), and the features made in the same way; "
        "`asmil predict` sees to the latter and warns of the former as far as it can.",
        "Attention says what the prediction was made from, not where the disease is.",
    ]


def _data(ensemble: Ensemble) -> dict[str, object]:
    table = ensemble.run.cohort
    sites = table["site"].replace("", UNKNOWN).value_counts().to_dict() if "site" in table else None
    classes = {
        str(name): {"slides": len(rows), "cases": int(rows["case"].nunique())}
        for name, rows in table.groupby("label", sort=True)
    }
    tiles = [facts.tiles for facts in ensemble.profile.slides.values()] if ensemble.profile else []
    return {
        "slides": len(table),
        "cases": int(table["case"].nunique()),
        "classes": classes,
        "sites": sites,
        "tiles_of_a_slide": f"{min(tiles)} to {max(tiles)}" if tiles else None,
        "origin_stain_and_scanners": None,
        "age_sex_and_ethnicity": None,
    }


def _validation(metrics: Facts) -> dict[str, object]:
    protocol = dict(metrics.get("protocol", {}))
    values = {name: value for name, value in metrics.get("test", {}).items() if name not in CALIBRATION}
    return protocol | {"value_is": metrics.get("test_is")} | values | {"external_validation": "none in this run"}


def _calibration(metrics: Facts) -> dict[str, object]:
    values = {name: metrics.get("test", {}).get(name) for name in CALIBRATION}
    return values | {"probabilities_recalibrated_on_validation": metrics.get("calibration", "no")}


def _encoder(ensemble: Ensemble) -> dict[str, object]:
    name = ensemble.run.settings.encoder if ensemble.run.settings.features is None else None
    stated = ensemble.preprocessing.values
    name = name or next(map(str, stated.get("encoder", [])), None)
    facts: dict[str, object] = {
        "name": name,
        "weight_hash": stated.get("weight_hash"),
        "computed_in": stated.get("precision"),
    }
    try:
        card = encoder_card(name) if name and ":" not in name else None
    except AsmilError:  # another tool's name of an encoder
        card = None
    for fact in ("dim", "licence", "gated", "source", "weights"):
        facts[fact] = getattr(card, fact) if card else None
    if card and card.weights is None:
        facts["weights"] = "none needed"
    return facts


def _preprocessing(ensemble: Ensemble) -> dict[str, object]:
    encoder = {"encoder", "weight_hash", "precision"}
    stated = {  # what was extracted with "none", and is known to be
        name: ["none" if value is None or value == [] else value for value in values]
        for name, values in ensemble.preprocessing.values.items()
        if name not in encoder
    }
    settings = ensemble.run.settings
    return stated | {"stain_normalisation": settings.stain if settings.features is None else None}


def _warnings(ensemble: Ensemble) -> dict[str, object]:
    alarms = ensemble.profile.alarms() if ensemble.profile else None
    rate = ensemble.profile.false_alarms() if ensemble.profile else None
    return {
        "held_out_slides": len(ensemble.profile.held_out) if ensemble.profile else None,
        "of_these_would_raise_a_warning": rate,
        "shift_above": alarms and alarms.shift,
        "clamped_values_above": alarms and alarms.clamped,
        "tiles_outside": alarms and f"{alarms.tiles[0]:g} to {alarms.tiles[1]:g}",
    }


def _limits(ensemble: Ensemble, metrics: Facts) -> list[str]:
    folds, slides, patients = (metrics.get(name) for name in ("folds", "n_slides", "n_patients"))
    of = f"{slides} slides of {patients} patients" if slides and patients else "its own slides"
    said = [
        *([ensemble.partial] if ensemble.partial else []),
        f"The numbers are of cross-validation ({len(folds or [])} folds) on {of}, each predicted only by models that "
        "never saw it. A prediction of a new slide is the mean of all members: that ensemble itself was not validated.",
        "As far as the run knows, no slide of another hospital, scanner or laboratory was looked at: expect it to be "
        "worse there.",
        "Intervals are of patients drawn anew from the same cohort. They say nothing about other populations.",
        "The members' disagreement is a sign of uncertainty, not a probability of error.",
    ]
    if not ensemble.profile:
        said.append("The features of training were not at hand: drift cannot be seen.")
    return said


def _made_with(ensemble: Ensemble) -> dict[str, object]:
    environment = ensemble.run.environment
    packages = {name: version for name, version in (environment.get("packages") or {}).items() if version}
    return {
        "trained_with": packages or None,
        "commit": environment.get("commit"),
        "python": environment.get("python"),
        "device": environment.get("device"),
        "processors": environment.get("cpus"),
        "seconds": ensemble.run.seconds or None,
        "trained_on_the_day": environment.get("date"),
        "card_written": datetime.now(UTC).date().isoformat(),
        "card_written_by": f"asmil {metadata.version('asmil')}",
    }


def _words(name: str) -> str:
    return name.replace("_", " ")


def _shown(value: object) -> str:
    """A fact in words."""
    if value is None or value == []:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, Mapping):
        if value.keys() - {"folds"} == {"value", "ci95"}:
            (low, high), folds = value["ci95"], of_folds(dict(value))
            some = f", mean of {folds}" if folds else ""
            return f"{_shown(value['value'])} ({_shown(low)} to {_shown(high)}{some})"
        return ", ".join(f"{_words(str(name))}: {_shown(one)}" for name, one in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_shown(one) for one in value)
    return str(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
