"""Something that is wrong with one slide or table row and was set aside, named rather than swallowed."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Problem:
    """What is wrong with a slide (with an empty `slide`: a whole table) and what to do about it."""

    slide: str
    what: str
    fix: str = ""
    path: Path | None = None

    def __str__(self) -> str:
        where = ": ".join(part for part in (self.slide, str(self.path or "")) if part)
        return f"{where}: {self.what}" + (f" ({self.fix})" if self.fix else "")


def listed(names, limit: int = 5) -> str:
    """Names in one line, cut after `limit`, for messages."""
    names = [str(name) for name in names]
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
