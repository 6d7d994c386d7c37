"""What went wrong, what was found, and what to do about it."""

import difflib
import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class AsmilError(Exception):
    """Base of every error asmil raises on purpose.

    `what` went wrong, what was `found`, and the `fix`: the three sentences every user-facing error carries.
    """

    def __init__(self, what: str, *, found: object = None, fix: str | None = None):
        self.what, self.found, self.fix = what, found, fix
        parts = [what if what.endswith((".", "?", "!")) else what + "."]
        if found is not None:
            parts.append(f"Found: {found}.")
        if fix:
            parts.append(f"To fix: {fix if fix.endswith('.') else fix + '.'}")
        super().__init__(" ".join(parts))

    def __reduce__(self):  # keeps keyword arguments when an error crosses a process boundary
        return _rebuild, (type(self), self.what, self.found, self.fix)


def as_typed(*words: object) -> str:
    """Words as a shell takes them: what is told to be typed can be pasted, whatever names and paths hold."""
    return shlex.join(map(str, words))


@contextmanager
def blaming(kind: type[AsmilError], what: str, *, fix: str) -> Iterator[None]:
    """Whatever a reader raises in the block is what is wrong with its file, and becomes an error of this kind.

    What damaged bytes make a library raise cannot be listed: h5py alone has nine kinds. So keep the block short. Errors
    of asmil, and memory at its end, are raised as they are.
    """
    try:
        yield
    except (AsmilError, MemoryError):
        raise
    except Exception as error:
        found = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise kind(what, found=found, fix=fix) from error


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question with the known name that is most like one that is not known; empty where none is like it."""
    close = difflib.get_close_matches(name.replace("-", "_"), list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else ""


def require_kind(value: object, kinds: type | tuple[type, ...], *, called: str, fix: str) -> None:
    """Refuse what is no value of these kinds: None, a number or a dictionary where a path or a cohort is meant.

    Raises:
        ConfigError: what it is `called` and should be, and what was given.
    """
    if not isinstance(value, kinds):
        what = f"{called} cannot be {'None' if value is None else f'of the type {type(value).__name__}'}"
        raise ConfigError(what, found=f"{value!r:.80}", fix=fix)


def _rebuild(cls: type[AsmilError], what: str, found: object, fix: str | None) -> AsmilError:
    return cls(what, found=found, fix=fix)


class SlideError(AsmilError):
    """A slide file cannot be opened or read."""


class ScaleError(SlideError):
    """The micrometres per pixel of a slide are unknown, implausible, or coarser than requested."""


class TissueError(AsmilError):
    """A slide has no tissue to tile, or a tissue file is not readable."""


class EncoderError(AsmilError):
    """An encoder cannot be loaded or does not return what its card says."""


class FeatureError(AsmilError):
    """A feature file is unreadable, empty, non-finite or of another dimension."""


class CohortError(AsmilError):
    """The tables of labels and slides contradict each other or the files."""


class SplitError(AsmilError):
    """A split leaks patients, misses slides or cannot be made."""


class AttentionError(AsmilError):
    """Attention scores are not where, or not of the shape, the stabiliser was told."""


class ConfigError(AsmilError):
    """A configuration has unknown keys or wrong values."""


class RunError(AsmilError):
    """A run folder is incomplete or belongs to other settings."""


class WeightsError(AsmilError):
    """A file does not hold the weights of the model they are loaded for."""


class UnknownPartError(AsmilError):
    """No part of that name in a registry."""


class PartError(AsmilError):
    """A part that an installed package offers cannot be imported, or is not what it should be."""


class MetricError(AsmilError):
    """Predictions cannot be scored: wrong shapes, unknown labels, or rows that contradict each other."""


class AnnotationError(AsmilError):
    """An annotation file cannot be read, does not fit its slide, or lacks the class asked for."""


class NotOfferedError(RunError):
    """A run, slide, layer or tile that the page does not offer: the answer is 404."""
