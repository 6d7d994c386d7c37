"""The stages that make a run: its features extracted, its models trained, as far as they are not there."""

from typing import TYPE_CHECKING

from asmil.progress import Listener, Outcome, steps_of_cells
from asmil.runs import Run
from asmil.settings import (
    Inputs,
    Settings,
    extract_folder,
    go_on,
    learned_from,
    lost_of,
    recipe_of,
    require_some,
    settings_identity,
    workers_of,
)

if TYPE_CHECKING:
    from asmil.bags import FeatureStore


def extract_into(made: Run, settings: Settings, *, inputs: Inputs, outcome: Outcome, hear: Listener) -> "FeatureStore":
    """The features of the labelled slides, extracted now as far as they are not there."""
    from asmil.bags import Problem, SlideNames, open_features
    from asmil.slides import name_of

    go_on(made, settings_identity(settings), hear)
    made.write_settings(settings)
    with made.timed("extract"):
        stores = extract_folder(
            inputs.files, made.folder, settings=settings, outcome=outcome, hear=hear, cohort=inputs.labelled
        )
    outcome.write(made.failures_file)
    require_some(stores, outcome, hear)
    made.set_features(stores[0])
    store = open_features(made.features)
    if not made.begun:  # one that has learned from them goes on with what it has learned from
        store.set_aside([Problem(slide, reason) for slide, reason in lost_of(store, outcome).items()])
    files = SlideNames([name_of(file) for file in inputs.files])
    earlier = "there is no file of it now: its features of an earlier call are learned from"
    for slide in inputs.labelled.match(store.slides).slides:
        if not files.find_or_file(slide):
            outcome.noted(slide, stage="extract", reason=earlier)
    return store


def train_into(
    made: Run, settings: Settings, *, inputs: Inputs, store: "FeatureStore", outcome: Outcome, hear: Listener
) -> None:
    """Cross-validate what is not trained yet, or not whole, if the run is still the same."""
    from asmil.training import crossval, most_epochs

    cohort, splits, data = learned_from(made, inputs.labelled, store, settings=settings, outcome=outcome, hear=hear)
    go_on(made, settings_identity(settings) | {"data": data}, hear)
    made.write_settings(settings)
    made.set_data(cohort, splits)
    outcome.write(made.failures_file)
    cells = made.unfinished().tell(hear)
    recipe, patients = recipe_of(settings), settings.bag == "patient"
    total = most_epochs(cohort, splits, recipe=recipe, cells=cells, by_patient=patients)
    with made.timed("train"), hear.stage("train", total=total, unit="epochs") as advance:
        crossval(
            cohort,
            store,
            splits,
            recipe=recipe,
            cells=cells,
            keep=made.keep,
            checkpoints=made.checkpoints,
            workers=workers_of(settings),
            by_patient=patients,
            progress=steps_of_cells(advance),
            tell=hear.note,
            trained=hear.trained,
        )
    outcome.ok(*cohort.slides)
    outcome.write(made.failures_file)
