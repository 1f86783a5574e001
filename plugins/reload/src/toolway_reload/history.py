"""The reloads that this process leads, and how the last ones ended."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Any

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
        self._leading: set[asyncio.Task[Any]] = set()

    async def lead(self, reload: Coroutine[Any, Any, Any]) -> None:
        """Do it to its end, also when the gateway that asks is replaced by it and cancels whoever waits."""
        task = asyncio.create_task(reload)
        self._leading.add(task)
        task.add_done_callback(self._leading.discard)
        await asyncio.shield(task)

    async def close(self) -> None:
        """The process ends."""
        for task in self._leading:
            task.cancel()
        await asyncio.gather(*self._leading, return_exceptions=True)

    def add(self, report: ReloadReport) -> None:
        """One more."""
        self.reports.appendleft(report)

    @property
    def complaint(self) -> str:
        """That and why the last one that was to be put in force was not, everywhere; empty when it was."""
        last = next((report for report in self.reports if report.outcome != "only checked"), None)
        if last is None or last.outcome == "in force":
            return ""
        if last.outcome == "in part":
            return f"the last reload is in force on some nodes only; mend the others, and reload: {last.problem}"
        return f"the last reload was refused, the configuration before it is in force: {last.problem}"
