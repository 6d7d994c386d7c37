"""What the viewer is asked for and does not have."""

from asmil.errors import RunError


class NotOfferedError(RunError):
    """A run, slide, layer or tile that the page does not offer: the answer is 404."""
