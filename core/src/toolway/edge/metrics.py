"""Counters, gauges and histograms, in memory that all workers of a node share.

The supervisor makes one `Memory` per worker before it forks: a worker writes only its own, reads all, and one that
replaces another goes on with what that had counted.
"""

from __future__ import annotations

import asyncio
import logging
import mmap
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import inf, isnan, nan
from operator import add
from time import monotonic, time_ns
from typing import Literal

import msgspec

from toolway.hookspecs.telemetry import LABELS, OTHER, By, Closed, Family, MetricReader, Read

log = logging.getLogger(__name__)

CELLS = 65_536
NAMES = 4 * 1024 * 1024
LATE = 0.05
"""Seconds that what is alike may gather before it is counted together."""
LOST = "toolway_metrics_lost_total"
"""Counts what found no place any more."""

Labels = tuple[str, ...]
Kind = Literal["counter", "gauge", "histogram"]


class Memory:
    """Numbers of one worker and, behind them, a line for each series that says where its numbers are."""

    def __init__(self) -> None:
        view = memoryview(mmap.mmap(-1, 16 + 8 * CELLS + NAMES))  # shared with forked processes
        self.since = time_ns()
        self._used = view[:16].cast("Q")
        self._names, self._read = view[16 + 8 * CELLS :], 0
        self._series: defaultdict[str, dict[Labels, int]] = defaultdict(dict)
        self.cells = view[16 : 16 + 8 * CELLS].cast("d")
        self.allot(LOST, (), 1)

    def allot(self, name: str, labels: Labels, width: int) -> int:
        """The first of `width` cells for a series; that of `LOST` when all are taken."""
        length, first = self._used
        line = msgspec.json.encode([name, labels, first]) + b"\n"
        if first + width > CELLS or length + len(line) > NAMES:
            return 0
        self._names[length : length + len(line)] = line
        self._used[1] = first + width
        self._used[0] = length + len(line)  # last: from now on readers see it
        return first

    def series(self, owner: str) -> Mapping[Labels, int]:
        """The first cell of each series of one instrument, by labels."""
        length = self._used[0]
        for line in bytes(self._names[self._read : length]).splitlines():
            name, labels, first = msgspec.json.decode(line)
            self._series[name][tuple(labels)] = first
        self._read = length
        return self._series[owner]


class Instrument:
    """One counter, gauge or histogram of one worker."""

    def __init__(self, memory: Memory, name: str, about: str, kind: Kind, labels: Mapping[str, Closed]) -> None:
        self.name, self.about, self.kind, self.labels = name, about, kind, tuple(labels)
        self.bounds: tuple[float, ...] = ()
        self.read: Read | None = None
        self.is_largest = False
        self._closed = tuple(None if each is None else frozenset(each) for each in labels.values())
        self._memory, self._cells = memory, memory.cells
        self._places = dict(memory.series(name))
        self._names = tuple({found[number] for found in self._places} for number in range(len(labels)))
        if kind == "gauge":
            for first in self._places.values():
                self._cells[first] = nan  # of a worker that is gone

    @property
    def together(self) -> Callable[[float, float], float]:
        """What two values are in one."""
        return max if self.is_largest else add

    @property
    def width(self) -> int:
        """How many cells a series has."""
        return len(self.bounds) + 2 if self.kind == "histogram" else 1

    def add(self, amount: float, *labels: str) -> None:
        """See `telemetry.Counter`."""
        place = self._places.get(labels)
        self._cells[self._place(labels) if place is None else place] += amount

    def set(self, value: float, *labels: str) -> None:
        """See `telemetry.Gauge`."""
        if place := self._place(labels):
            self._cells[place] = value
        else:
            self._cells[0] += 1

    def sample(self) -> None:
        """Read it, if it is one that is read; series that are not there any more have no value."""
        if self.read is not None:
            read = self.read()
            found: dict[Labels, float] = {}
            for labels, value in read.items() if isinstance(read, Mapping) else [((), read)]:
                fitting = self._fitting(labels)
                found[fitting] = self.together(found[fitting], value) if fitting in found else value
            for gone in self._places.keys() - found.keys():
                self.set(nan, *gone)
            for labels, value in found.items():
                self.set(value, *labels)

    def observe(self, values: Sequence[float], *labels: str) -> None:
        """See `telemetry.Histogram`."""
        if place := self._place(labels):
            ordered, below = sorted(values), 0
            for bucket, bound in enumerate((*self.bounds, inf)):
                self._cells[place + bucket] += (upto := bisect_right(ordered, bound)) - below
                if (below := upto) == len(ordered):
                    break
            self._cells[place + len(self.bounds) + 1] += sum(values)
        else:
            self._cells[0] += len(values)

    def _place(self, labels: Labels) -> int:
        fitting = self._fitting(labels)
        if fitting not in self._places:
            self._places[fitting] = self._memory.allot(self.name, fitting, self.width)
        return self._places[fitting]

    def _fitting(self, labels: Labels) -> Labels:
        return tuple(self._fit(number, label) for number, label in enumerate(labels))

    def _fit(self, number: int, label: str) -> str:
        closed, names = self._closed[number], self._names[number]
        if closed is not None:
            return label if label in closed else OTHER
        if len(names) < LABELS:
            names.add(label)
        return label if label in names else OTHER


class Instruments:
    """See `telemetry.Metrics`; `memories` has that of each worker, the `own` one is written."""

    def __init__(self, memories: Sequence[Memory] = (), own: int = 0) -> None:
        self.is_read, self.lag = False, 0.0
        self._memories = memories or (Memory(),)
        self._own, self.since = self._memories[own], self._memories[0].since
        self._known: dict[str, Instrument] = {}
        self._late: dict[Callable[[], None], None] = {}
        self.counter(LOST, "Updates of series that found no place.", {})
        self.sampled("toolway_loop_lag_seconds", "How late the event loop was.", lambda: self.lag, largest=True)

    def counter(self, name: str, about: str, labels: Mapping[str, Closed]) -> Instrument:
        """See `telemetry.Metrics`."""
        return self._known.get(name) or self._made(name, about, "counter", labels)

    def gauge(self, name: str, about: str, labels: Mapping[str, Closed]) -> Instrument:
        """See `telemetry.Metrics`."""
        return self._known.get(name) or self._made(name, about, "gauge", labels)

    def histogram(self, name: str, about: str, bounds: Sequence[float], labels: Mapping[str, Closed]) -> Instrument:
        """See `telemetry.Metrics`."""
        made = self._known.get(name) or self._made(name, about, "histogram", labels)
        made.bounds = tuple(bounds)
        return made

    def sampled(self, name: str, about: str, read: Read, labels: By | None = None, *, largest: bool = False) -> None:
        """See `telemetry.Metrics`."""
        gauge = self.gauge(name, about, labels or {})
        gauge.read, gauge.is_largest = read, largest

    @contextmanager
    def taken_over(self) -> Iterator[None]:
        """Whoever takes over samples from now on; if that fails, everything is read as before."""
        before = {each: each.read for each in self._known.values() if each.read is not None}
        try:
            yield
        except BaseException:
            for each in self._known.values():
                if each.read is not None:
                    each.read = before.get(each, dict)  # what is new has no value any more
            raise

    def late(self, count: Callable[[], None]) -> None:
        """See `telemetry.Metrics`."""
        if not self._late:
            asyncio.get_running_loop().call_later(LATE, self._count_late)
        self._late[count] = None

    def sample(self) -> None:
        """Read what is sampled; what fails is logged, and keeps its value."""
        for each in tuple(self._known.values()):
            _attempt(each.sample, f"reading {each.name}")

    def read_by(self, readers: Sequence[MetricReader]) -> None:
        """These export them, for the gateway that is built now; without any, nothing needs to be counted."""
        self.is_read = bool(readers)
        for reader in readers:
            reader.attach(self.collect)

    async def tend(self) -> None:
        """Sample once a second; never returns. In the end everything is counted."""
        try:
            while True:
                due = monotonic() + 1.0
                await asyncio.sleep(1.0)
                self.lag = monotonic() - due
                self.sample()
        finally:
            self._count_late()

    def collect(self) -> Sequence[Family]:
        """The totals of all workers; what is not counted yet is, as far as it is of this one."""
        self._count_late()
        return tuple(self._totals())

    def _count_late(self) -> None:
        for _ in range(2):  # watchers that are told now may count
            late, self._late = self._late, {}
            for count in late:
                _attempt(count, "counting")

    def _totals(self) -> Iterator[Family]:
        for each in self._known.values():
            series = self._series(each) if each.width == 1 else self._histograms(each)
            yield Family(each.name, each.about, each.kind, each.labels, series, each.bounds)

    def _series(self, instrument: Instrument) -> Mapping[Labels, Sequence[float]]:
        """Of a counter or gauge; what is not a number is not there."""
        name, together = instrument.name, instrument.together
        found: dict[Labels, float] = {}
        for memory in self._memories:
            cells = memory.cells
            for labels, first in memory.series(name).items():
                value = cells[first]
                if not isnan(value):
                    found[labels] = together(found[labels], value) if labels in found else value
        return {labels: [value] for labels, value in found.items()}

    def _histograms(self, instrument: Instrument) -> Mapping[Labels, Sequence[float]]:
        found: dict[Labels, list[float]] = {}
        for memory in self._memories:
            for labels, first in memory.series(instrument.name).items():
                cells = list(memory.cells[first : first + instrument.width])
                before = found.get(labels)
                found[labels] = cells if before is None else [a + b for a, b in zip(before, cells, strict=True)]
        return found

    def _made(self, name: str, about: str, kind: Kind, labels: Mapping[str, Closed]) -> Instrument:
        made = self._known[name] = Instrument(self._own, name, about, kind, labels)
        return made


def _attempt(do: Callable[[], None], what: str) -> None:
    """Do it; what fails is logged, and keeps nothing else from being done."""
    try:
        do()
    except Exception:
        log.exception("%s failed", what)
