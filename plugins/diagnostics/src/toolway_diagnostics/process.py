"""What the process uses, and how much of it it may use."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

MIB = 1024 * 1024
SELF = Path("/proc/self")
GROUPS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def limits() -> dict[str, Any]:
    """Files and memory: used, and the most."""
    return {
        "open_files": open_files(),
        "open_files_limit": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "memory_bytes": resident_bytes(),
        "memory_limit_bytes": memory_limit(),
    }


def open_files() -> int:
    """How many descriptors are open; 0 where nobody can tell."""
    directory = SELF / "fd"
    return sum(1 for _ in directory.iterdir()) - 1 if directory.exists() else 0


def resident_bytes() -> int:
    """Memory that it uses now."""
    file = SELF / "statm"
    if not file.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return int(file.read_text().split()[1]) * resource.getpagesize()


def memory_limit() -> int:
    """What its control group allows, or what the machine has; 0 where nobody can tell."""
    found = [int(text) for text in map(_text, GROUPS) if text.isdigit()]
    total = next((line for line in _text(Path("/proc/meminfo")).splitlines() if line.startswith("MemTotal:")), "")
    return min([*found, *(int(word) * 1024 for word in total.split()[1:2])], default=0)


def _text(file: Path) -> str:
    return file.read_text().strip() if file.exists() else ""
