"""Writes to a file descriptor from a thread of its own; whoever has something to write never waits."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Generic, TypeVar

from toolway_json_logging.outlet import PATIENCE, Outlet

T = TypeVar("T")
GATHER = 0.2
"""Seconds that the thread lets lines gather: whenever it wakes up, it is in the way of the event loop."""


class Writer(Generic[T]):
    """A bounded queue and the thread that empties it; lines that find it full, or nobody who reads, are dropped.

    `line` is called in the thread and makes a line of an entry; `told` makes the line about what was dropped.
    """

    def __init__(self, descriptor: int, most: int, line: Callable[[T], str], told: Callable[[int], str]) -> None:
        self._refused = self._lost = 0
        self._outlet, self._most, self._make, self._told = Outlet(descriptor), most, line, told
        self._queue: deque[tuple[T, int]] = deque()
        self._put = self._taken = 0  # lines of entries with several, beyond the first one
        self._some, self._hurry, self._busy = threading.Event(), threading.Event(), threading.Lock()
        self._closing = False
        self._until = float("inf")
        self._told_of = 0
        self._thread: threading.Thread | None = None

    @property
    def dropped(self) -> int:
        """How many lines nobody can read."""
        return self._refused + self._lost

    @property
    def is_closed(self) -> bool:
        """Whether the thread is over."""
        return self._closing and (self._thread is None or not self._thread.is_alive())

    def put(self, entry: T, lines: int = 1, *, urgent: bool = False) -> None:
        """Write an entry, perhaps of several lines, soon; now if it is `urgent`, and when the writer is closed."""
        waiting = len(self._queue) + self._put - self._taken + lines
        if waiting > self._most:
            self._refused += lines
            return
        if lines > 1:  # such entries come from one thread only, so nobody else changes this number
            self._put += lines - 1
        self._queue.append((entry, lines))
        if self._closing:
            self._until = monotonic() + PATIENCE
            self._empty()
        elif self._thread is None:
            self._start()
        elif not self._some.is_set():
            self._some.set()
        if (urgent or waiting > self._most // 2) and not self._hurry.is_set():
            self._hurry.set()

    def lose(self) -> None:
        """Count a line that cannot be put."""
        self._refused += 1

    def flush(self, seconds: float = 1.0) -> None:
        """Wait until everything is written, at most that long."""
        until = monotonic() + seconds
        self._hurry.set()
        while (self._queue or self._busy.locked()) and monotonic() < until:
            time.sleep(0.005)

    def close(self, seconds: float = 1.0) -> None:
        """Write what waits, at most that long, and end the thread."""
        self._until = monotonic() + seconds
        self._closing = True
        self._some.set()
        self._hurry.set()
        if self._thread is not None:
            self._thread.join(seconds + 2 * PATIENCE)
        self._lost += sum(lines for _, lines in self._queue)
        self._queue.clear()

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="toolway-logs", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return  # the system has no thread for us now: the next line asks again
        self._thread = thread
        self._some.set()

    def _run(self) -> None:
        while not self._closing:
            self._some.wait()
            self._hurry.wait(GATHER)
            self._some.clear()
            self._hurry.clear()
            self._empty()

    def _empty(self) -> None:
        with self._busy:
            for batch in self._batches():
                if not self._outlet.write(batch, self._until):
                    self._lost += batch.count(b"\n")

    def _batches(self) -> Iterator[bytearray]:
        """Lines in pieces that are written at once, last the one about what was dropped."""
        queue, batch, most = self._queue, bytearray(), self._outlet.room()
        while queue or self.dropped > self._told_of:
            entry, lines = queue.popleft() if queue else (None, 1)
            self._taken += lines - 1
            text = (self._missing() if entry is None else self._make(entry)).encode("utf-8", "backslashreplace")
            for line in (text,) if len(text) < most else text.split(b"\n"):
                if batch and len(batch) + len(line) >= most:
                    yield batch
                    batch, most = bytearray(), self._outlet.room()
                batch += line
                batch += b"\n"
        if batch:
            yield batch

    def _missing(self) -> str:
        dropped, self._told_of = self.dropped - self._told_of, self.dropped
        return self._told(dropped)
