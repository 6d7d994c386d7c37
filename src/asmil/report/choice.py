"""Which slides are worth a picture, the most telling first."""

from collections.abc import Iterator

import numpy as np

from asmil.report.inputs import RunFiles


def telling_slides(files: RunFiles) -> Iterator[str]:
    """All slides in the order in which they are shown.

    With classes: of each class the surest right one, the surest wrong one, then the next. Without: the slides of
    highest and lowest value in turn.
    """
    queues = _by_class(files) if files.classes else _by_value(files)
    longest = max(map(len, queues), default=0)
    return (queue[i] for i in range(longest) for queue in queues if i < len(queue))


def choice_words(files: RunFiles) -> str:
    """The order in a sentence."""
    if files.classes:
        return (
            "Shown in turn for each class: the slide predicted right with most confidence, and the one predicted wrong "
            "with most."
        )
    return (
        f"Shown in turn: the slides of highest and of lowest {files.values[0].replace('_', ' ')}."
        if files.values
        else ""
    )


def _by_class(files: RunFiles) -> list[list[str]]:
    table = files.predictions
    column = {name: i for i, name in enumerate(files.classes)}
    known = table[table["label"].isin(column)]
    truth = files.probabilities(known)[np.arange(len(known)), known["label"].map(column).to_numpy(int)]
    known = known.assign(truth=truth, right=known["label"] == known["predicted"])
    queues = []
    for name in files.classes:
        own = known[known["label"] == name].sort_values("truth", kind="stable")
        queues.append(list(own.loc[own["right"], "slide"][::-1]))
        queues.append(list(own.loc[~own["right"], "slide"]))
    return queues


def _by_value(files: RunFiles) -> list[list[str]]:
    if not files.values:
        return [list(files.predictions["slide"])]
    ordered = list(files.predictions.sort_values(files.values[0], kind="stable")["slide"])
    half = (len(ordered) + 1) // 2
    return [ordered[: half - 1 : -1], ordered[:half]]
