"""How the last reloads of this process ended."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from toolway_reload.schemas import ReloadReport

REMEMBERED = 20
Seen = tuple[tuple[Path, int, int], ...]
"""Files with the time of their last change and their size."""


def look(files: Iterable[Path]) -> Seen:
    """How they are now; what is not there is left out."""
    found = []
    for file in files:
        with contextlib.suppress(OSError):
            status = file.stat()
            found.append((file, status.st_mtime_ns, status.st_size))
    return tuple(found)


class History:
    """Outlives the reloads that it tells of; the last one comes first. `seen` is how the files were when last read."""

    def __init__(self) -> None:
        self.seen: Seen = ()
        self.reports: deque[ReloadReport] = deque(maxlen=REMEMBERED)

    def add(self, report: ReloadReport) -> None:
        """One more."""
        self.reports.appendleft(report)

    @property
    def failure(self) -> str:
        """Why the last one that was to be put in force was not; empty when it was."""
        for report in self.reports:
            if report.outcome != "only checked":
                return report.problem
        return ""
