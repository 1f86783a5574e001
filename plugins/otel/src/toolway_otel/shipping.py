"""Sends what was kept, from a thread of its own: nothing that the receiver does is felt by a request."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from toolway_otel.conversion import Kept, readables

log = logging.getLogger("toolway.otel")

BATCH = 512
PATIENCE = 1.0
"""Seconds that spans wait for others to go with."""
QUIET = 60.0
"""Seconds between two complaints about a receiver that takes nothing."""


Later = Callable[[], Any]
"""Makes what is sent, in the thread that sends it."""


class Exporter(Protocol):
    """An OTLP exporter of the SDK."""

    def export(self, batch: Any, /) -> Any:
        """Send it; the result has a name, `SUCCESS` or another one."""

    def shutdown(self) -> Any:
        """Send no more."""


class Shipper:
    """A bounded queue of spans, the metrics to be sent next, and the thread that sends both.

    `dropped` is called, in that thread or in the event loop's, with the number of spans that are lost.
    """

    def __init__(
        self, spans: Exporter | None, metrics: Exporter | None, size: int, dropped: Callable[[int], None]
    ) -> None:
        self._exporter, self._metrics, self._size, self.dropped = spans, metrics, size, dropped
        self._queue: deque[Kept] = deque()
        self._next: Later | None = None
        self._news, self._is_over = threading.Condition(), False
        self._complained = -QUIET
        self._thread = threading.Thread(target=self._run, name="toolway-otel", daemon=True)
        self._thread.start()

    def put(self, spans: Sequence[Kept]) -> None:
        """Send them some time; what finds no room is dropped."""
        with self._news:
            room = self._size - len(self._queue)
            self._queue.extend(spans[:room] if room < len(spans) else spans)
            if len(self._queue) >= BATCH:
                self._news.notify()
        if room < len(spans):
            self.dropped(len(spans) - max(room, 0))

    def put_metrics(self, data: Later) -> None:
        """Send them next, in place of older ones that were not sent yet: totals tell everything."""
        with self._news:
            self._next = data
            self._news.notify()

    def close(self, seconds: float) -> None:
        """Send what is there, for so long."""
        with self._news:
            self._is_over = True
            self._news.notify()
        self._thread.join(seconds)
        for each in (self._exporter, self._metrics):
            if each is not None:
                each.shutdown()

    def _run(self) -> None:
        while True:
            with self._news:
                if not self._is_over and self._next is None and len(self._queue) < BATCH:
                    self._news.wait(PATIENCE)
                batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
                metrics, self._next = self._next, None
                is_last = self._is_over and not self._queue
            if batch and self._exporter is not None and not self._send(self._exporter, partial(readables, batch)):
                self.dropped(len(batch))
            if metrics is not None and self._metrics is not None:
                self._send(self._metrics, metrics)
            if is_last:
                return

    def _send(self, exporter: Exporter, data: Later) -> bool:
        try:
            return bool(exporter.export(data()).name == "SUCCESS")
        except Exception:
            log.exception("telemetry could not be exported")
            return False
