"""What processes cost, read from /proc: CPU time, memory and descriptors of a process with all its descendants."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
KIB = 1024


def family(pid: int) -> set[int]:
    """The process and everything that descends from it."""
    found = {pid}
    for task in _tasks(pid):
        for child in _read(task / "children").split():
            found |= family(int(child))
    return found


def cpu_seconds(pid: int) -> float:
    """On-CPU time of every thread of the family, in seconds (the scheduler's own count, nanoseconds exact)."""
    fields = (_read(task / "schedstat").split() for each in family(pid) for task in _tasks(each))
    return sum(int(field[0]) for field in fields if field) / 1e9


def resident(pid: int) -> int:
    """RSS of the family in bytes; what processes share counts in each."""
    return sum(_kib(each, "status", "VmRSS") for each in family(pid))


def proportional(pid: int) -> int:
    """PSS of the family in bytes; what processes share is divided between them."""
    return sum(_kib(each, "smaps_rollup", "Pss") for each in family(pid))


def descriptors(pid: int) -> int:
    """Open files and sockets of the family."""
    return sum(1 for each in family(pid) for _ in _entries(PROC / str(each) / "fd"))


def _tasks(pid: int) -> Iterator[Path]:
    return _entries(PROC / str(pid) / "task")


def _entries(folder: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError):  # it ended meanwhile
        yield from folder.iterdir()


def _kib(pid: int, file: str, field: str) -> int:
    match = re.search(rf"^{field}:\s+(\d+) kB", _read(PROC / str(pid) / file), re.MULTILINE)
    return int(match[1]) * KIB if match else 0


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # it ended meanwhile
        return ""
