"""What is read once a second: the version, the worker processes, and how upstreams are."""

from __future__ import annotations

import asyncio
import os
import resource
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from toolway import __version__
from toolway.hookspecs.telemetry import Counter
from toolway.plugin import Kernel, beside

SELF = Path("/proc/self")
EVERY_SECONDS = 1.0


class State:
    """A service that counts processor time; its gauges are read by whoever reads all of them."""

    name = "meters"

    def __init__(self, kernel: Kernel) -> None:
        self._kernel, metrics = kernel, kernel.metrics
        self._seconds = metrics.counter("toolway_process_cpu_seconds_total", "Processor time of all workers.", {})
        self._starts = metrics.counter("toolway_worker_starts_total", "Worker processes that began to serve.", {})

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """See `Service`; what is counted of this process goes on over a reload."""
        self._measure()
        process = await self._kernel.keep("meters", "process", self._begin)
        async with beside(self.name, process.tend()):
            yield

    def _measure(self) -> None:
        metrics = self._kernel.metrics
        version: Mapping[tuple[str, ...], float] = {(__version__,): 1.0}
        metrics.sampled("toolway_build_info", "1, with the version.", lambda: version, {"version": None}, largest=True)
        metrics.sampled("toolway_workers", "Worker processes that run.", lambda: 1.0)
        metrics.sampled("toolway_process_resident_memory_bytes", "Memory of all workers.", resident_bytes)
        metrics.sampled("toolway_process_open_fds", "Open file descriptors of all workers.", open_files)
        metrics.sampled("toolway_process_max_fds", "File descriptors that all workers may open.", most_files)
        upstream = {"upstream": None}
        what = "Whether it was discovered when last asked: 1 or 0."
        metrics.sampled("toolway_upstream_up", what, self._up, upstream, largest=True)
        what = "Since when it is up or down, in seconds since 1970."
        metrics.sampled("toolway_upstream_status_timestamp_seconds", what, self._since, upstream, largest=True)
        metrics.sampled("toolway_upstream_items", "Items that it offers.", self._items, upstream, largest=True)

    async def _begin(self) -> Process:
        self._starts.add(1)
        return Process(self._seconds)

    def _up(self) -> Mapping[tuple[str, ...], float]:
        views = self._kernel.catalog.snapshot.upstreams
        return {(name,): float(view.status == "up") for name, view in views.items() if view.status != "pending"}

    def _since(self) -> Mapping[tuple[str, ...], float]:
        views = self._kernel.catalog.snapshot.upstreams
        return {(name,): view.since for name, view in views.items() if view.since}

    def _items(self) -> Mapping[tuple[str, ...], float]:
        views = self._kernel.catalog.snapshot.upstreams
        return {(name,): float(len(view.discovery.items)) for name, view in views.items() if view.discovery}


class Process:
    """The processor time of this process, counted by however many gateways it has."""

    def __init__(self, seconds: Counter) -> None:
        self._seconds, self._seen = seconds, 0.0

    async def tend(self) -> None:
        """Count once a second; never returns."""
        while True:
            used = time.process_time()
            self._seconds.add(used - self._seen)
            self._seen = used
            await asyncio.sleep(EVERY_SECONDS)


def resident_bytes() -> float:
    """Of this process; 0 where there is no /proc (proc(5))."""
    try:
        return float(SELF.joinpath("statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return 0.0


def open_files() -> float:
    """Of this process; 0 where there is no /proc."""
    try:
        return float(len(os.listdir(SELF / "fd")))  # noqa: PTH208 - once a second, and several times as fast
    except OSError:
        return 0.0


def most_files() -> float:
    """That this process may open."""
    return float(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
