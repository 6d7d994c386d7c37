"""Several starts of a training: a model that found nothing begins again from other random numbers."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from asmil.bags import Bag
from asmil.draws import stream
from asmil.tasks import Task
from asmil.training.fit import Member, train_members
from asmil.training.predict import even_maps, predict
from asmil.training.recipe import has_scores


def train_starts(
    make: Callable[[int, int], Member],
    seeds: Sequence[int],
    *,
    train: Sequence[Bag],
    val: Sequence[Bag],
    task: Task | None = None,
    also: Sequence[Bag] = (),
    checkpoints: Callable[[int], Path] | None = None,
    one_pass: bool = False,
) -> Iterator[dict[int, Member]]:
    """`train_members` for the seeds' members, anew for those that found nothing; tells the members after every epoch.

    Where attention does not form before a model has learnt its training bags by heart, it never does: the loss is
    gone. Whether it forms is a matter of the random numbers (docs/log.md), and the validation part shows it: such a
    model tells it no better than by the frequencies of its classes, with attention that prefers no tile.

    `make(seed, start)` gives a fresh member for a start, from 0, whose random numbers follow from both, so that a
    start is the same in any company. `checkpoints(start)` is where the members of a start are kept. The last that is
    told holds of each seed the start that found something, else that of the best validation value.
    """
    best: dict[int, Member] = {}
    left, start = list(seeds), 0
    while left:
        own = {seed: make(seed, start) for seed in left}
        for member in own.values():
            member.start = start
            member.starts_left = member.settings.restarts - start if has_scores(member.model, train[0]) else 0
        path = checkpoints(start) if checkpoints else None
        members = list(own.values())
        for _ in train_members(members, train, val, task=task, also=also, checkpoint=path, one_pass=one_pass):
            yield best | own
        best |= {seed: min(best.get(seed, member), member, key=_failing) for seed, member in own.items()}
        left = [seed for seed, member in own.items() if member.is_to_start_again]
        start += 1
    yield best


def seed_of(seed: int, start: int) -> int:
    """The seed of a start's random numbers; of the first it is the seed itself."""
    return stream(seed, "start", start) if start else seed


def evenness(member: Member, bags: Sequence[Bag]) -> float:
    """Share of the bags in which a trained model's attention prefers no tile; 0 without attention."""
    even = even_maps(predict(member.model, bags))
    return sum(even) / max(1, len(even))


def _failing(member: Member) -> tuple[bool, bool, float]:
    return member.error is not None, member.result.nothing, member.result.best_value
