"""The page of metrics: reads all instruments and writes them down, without keeping anybody waiting."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable, Sequence
from typing import NamedTuple

from toolway.hookspecs.telemetry import Family
from toolway.plugin import Clock, hidden
from toolway_prometheus.exemplars import CALLS, Exemplars
from toolway_prometheus.exposition import pieces
from toolway_prometheus.formats import wanted

WORTH_COMPRESSING = 1024


class Written(NamedTuple):
    """The page, and the header fields that say what it is."""

    body: bytes
    headers: dict[str, str]


class Page:
    """A reader of metrics. It is written for one client after the other: more at once would be no faster."""

    name = "prometheus"

    def __init__(self, clock: Clock, redact: Callable[[str], str]) -> None:
        self.exemplars = Exemplars(clock)
        self._collect: Callable[[], Sequence[Family]] = tuple
        self._redact = redact
        self._turn = asyncio.Lock()

    def attach(self, collect: Callable[[], Sequence[Family]]) -> None:
        """See `MetricReader`."""
        self._collect = collect

    async def write(self, accept: str, encodings: str) -> Written:
        """In the format that a client accepts, compressed if it likes; other requests are served meanwhile."""
        form, written = wanted(accept), []
        async with self._turn:
            for piece in pieces(hidden(self._families(), self._redact), form, self.exemplars):
                written.append(piece)
                await asyncio.sleep(0)
            body = "".join(written).encode("utf-8", "replace")
            headers = {"content-type": form.value, "cache-control": "no-store", "vary": "accept, accept-encoding"}
            if "gzip" in encodings.lower() and len(body) > WORTH_COMPRESSING:
                body = await asyncio.to_thread(gzip.compress, body, 1)
                headers["content-encoding"] = "gzip"
        return Written(body, headers)

    def _families(self) -> Sequence[Family]:
        families = self._collect()
        self.exemplars.bounds = next((each.bounds for each in families if each.name == CALLS), ())
        return families
