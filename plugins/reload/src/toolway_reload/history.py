"""The reloads that this process leads, and how the last ones of all nodes ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from toolway.plugin import Difference
from toolway_reload.schemas import ReloadReport

REMEMBERED = 20
T = TypeVar("T")
Seen = tuple[tuple[Path, int, int, int], ...]
"""Files with the time of their last change, their size and their inode: one may be replaced by one of the same age."""


def look(files: Callable[[], Iterable[Path]]) -> Seen:
    """How they and mounted variables are now, behind links; what is not there is left out. Waits for the disk."""
    found = []
    for file in (*files(), *_mounted()):
        with contextlib.suppress(OSError):
            status = file.stat()
            found.append((file, status.st_mtime_ns, status.st_size, status.st_ino))
    return tuple(found)


def _mounted() -> list[Path]:
    """What is in the directory of variables that are mounted as files, if there is one."""
    with contextlib.suppress(OSError):
        return sorted(Path(directory).iterdir()) if (directory := os.environ.get("TOOLWAY_SECRETS_DIR")) else []
    return []


class History:
    """Outlives the reloads that it tells of; the last one comes first. `seen` is how the files were when last read.

    `is_followed` says whether a gateway of this process takes part in reloads, and hears for the one that comes next;
    `prepared` is the reload that it built a gateway for, and what is different in that.
    """

    def __init__(self) -> None:
        self.seen: Seen = ()
        self.is_followed = False
        self.prepared: tuple[str, Sequence[Difference]] = "", ()
        self.reports: deque[ReloadReport] = deque(maxlen=REMEMBERED)
        self._leading: set[asyncio.Task[Any]] = set()

    async def lead(self, reload: Coroutine[Any, Any, T]) -> T:
        """Do it to its end, also when the gateway that asks is replaced by it and cancels whoever waits."""
        task = asyncio.create_task(reload)
        self._leading.add(task)
        task.add_done_callback(self._leading.discard)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """The process ends."""
        for task in self._leading:
            task.cancel()
        await asyncio.gather(*self._leading, return_exceptions=True)

    def add(self, report: ReloadReport) -> None:
        """One more; the node that led it hears of it, too."""
        if all((each.at, each.by) != (report.at, report.by) for each in self.reports):
            self.reports.appendleft(report)

    def differences(self, reload: str) -> Sequence[Difference]:
        """What is different in what this process has prepared; not always by the gateway that leads."""
        return self.prepared[1] if self.prepared[0] == reload else ()

    @property
    def complaint(self) -> str:
        """That and why the last one that was to be put in force was not, everywhere; empty when it was."""
        last = next((report for report in self.reports if not report.dry_run), None)
        if last is None or last.outcome == "in force":
            return ""
        if last.outcome == "in part":
            return f"the last reload is in force on some nodes only; mend the others, and reload: {last.problem}"
        return f"the last reload was refused, the configuration before it is in force: {last.problem}"
