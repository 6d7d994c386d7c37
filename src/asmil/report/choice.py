"""Which slides are worth a picture, the most telling first."""

from collections.abc import Iterator

import numpy as np

from asmil.runs import Run


def telling_slides(run: Run) -> Iterator[str]:
    """All slides in the order in which they are shown.

    With classes: of each class the surest right one, the surest wrong one, then the next. Without: the slides of
    highest and lowest value in turn.
    """
    queues = _by_class(run) if run.classes else _by_value(run)
    longest = max(map(len, queues), default=0)
    return (queue[i] for i in range(longest) for queue in queues if i < len(queue))


def choice_words(run: Run) -> str:
    """The order in a sentence."""
    if run.classes:
        return (
            "Shown in turn for each class: the slide predicted right with most confidence, and the one predicted wrong "
            "with most."
        )
    return (
        f"Shown in turn: the slides of highest and of lowest {run.values[0].replace('_', ' ')}." if run.values else ""
    )


def _by_class(run: Run) -> list[list[str]]:
    table = run.predictions
    column = {name: i for i, name in enumerate(run.classes)}
    known = table[table["label"].isin(column)]
    truth = run.probabilities(known)[np.arange(len(known)), known["label"].map(column).to_numpy(int)]
    known = known.assign(truth=truth, right=known["label"] == known["predicted"])
    queues = []
    for name in run.classes:
        own = known[known["label"] == name].sort_values("truth", kind="stable")
        queues.append(list(own.loc[own["right"], "slide"][::-1]))
        queues.append(list(own.loc[~own["right"], "slide"]))
    return queues


def _by_value(run: Run) -> list[list[str]]:
    if not run.values:
        return [list(run.predictions["slide"])]
    ordered = list(run.predictions.sort_values(run.values[0], kind="stable")["slide"])
    half = (len(ordered) + 1) // 2
    return [ordered[: half - 1 : -1], ordered[:half]]
