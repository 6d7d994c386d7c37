"""The two things that go wrong when numbers are computed: predictions and annotations."""

from asmil.errors import AsmilError


class MetricError(AsmilError):
    """Predictions cannot be scored: wrong shapes, unknown labels, or rows that contradict each other."""


class AnnotationError(AsmilError):
    """An annotation file cannot be read, does not fit its slide, or lacks the class asked for."""
