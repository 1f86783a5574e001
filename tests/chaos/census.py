"""The plugin `census`, for tests only: counts in the gateway's process what should not become more over reloads."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from toolway.app import Gateway
from toolway.hookspecs.api import Incoming, Operation
from toolway.plugin import Kernel, Plugin, Settings, hookimpl
from toolway_testing.distributions import distributed


def installed(directory: Path) -> str:
    """The `PYTHONPATH` with which the plugin can be enabled; its distribution goes into the directory."""
    return f"{distributed(directory, 'census', 'census:CensusPlugin')}{os.pathsep}{Path(__file__).parent}"


class Counted(BaseModel):
    """Of one process: what is alive after a collection, what is open, and its memory in KiB (proportional set size)."""

    pid: int
    gateways: int
    tasks: int
    objects: int
    files: int
    threads: int
    memory: int


class Census:
    """Counts when it is asked."""

    async def count(self, incoming: Incoming) -> Counted:
        """Collect what nobody holds, and count the rest."""
        gc.collect()
        every = gc.get_objects()
        return Counted(
            pid=os.getpid(),
            gateways=sum(isinstance(each, Gateway) for each in every),
            tasks=len(asyncio.all_tasks()),
            objects=len(every),
            files=_open_files(),
            threads=threading.active_count(),
            memory=_memory(),
        )


class CensusPlugin(Plugin[Settings]):
    """Registers one operation."""

    @hookimpl
    def toolway_routes(self, kernel: Kernel) -> Iterable[Operation]:
        """`/api/v1/census`."""
        return [Operation("GET", "/api/v1/census", "reload:read", Census().count, answer=Counted)]


def _open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def _memory() -> int:
    fields: dict[str, Any] = dict(
        line.split(":", 1) for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    )
    return int(fields["Pss"].split()[0])
