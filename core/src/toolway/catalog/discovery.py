"""Keeps one upstream discovered: when it comes up, when its lists change, on a schedule and on demand."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

import msgspec
from msgspec import Raw

from toolway.errors import ClientCannot, ToolwayError, UpstreamError, UpstreamProtocol, UpstreamTimeout
from toolway.hookspecs import routing
from toolway.hookspecs.catalog import NewsListener, UpstreamView
from toolway.hookspecs.routing import ClientProfile, Connection, Discovery, Endpoint, Era, Eras, Leg, UpstreamKind
from toolway.hookspecs.secrets import Challenge
from toolway.plugin.kernel import Clock

log = logging.getLogger(__name__)

Authorize = Callable[[Challenge | None], Awaitable[Mapping[str, str]]]
"""Makes the headers of a leg's requests, see `Leg.authorize`."""

GRACE_SECONDS = 24 * 3600.0
"""How long the last good list of an upstream that is down stays in force."""

ATTEMPT_SECONDS = 60.0
WATCH_SECONDS = 10.0
COALESCE_SECONDS = 0.2
BACKOFF_BASE, BACKOFF_SOON, BACKOFF_CAP = 0.5, 2.0, 30.0
EAGER_SECONDS = 60.0
"""So long after it went down an upstream is tried again within `BACKOFF_SOON`, then within `BACKOFF_CAP` seconds."""

LATEST: dict[Era, str] = {"modern": "2026-07-28", "legacy": "2025-11-25"}
CLIENT_INFO = {"name": "toolway", "title": "Toolway"}


class Watcher:
    """Discovers one upstream again and again while its task runs; `view` is what is known of it.

    It is the peer of the gateway's own leg: it hears that a list changed, and can answer nothing.
    """

    def __init__(
        self,
        view: UpstreamView,
        kind: UpstreamKind,
        authorize: Authorize,
        clock: Clock,
        changed: Callable[[], None],
        heard: NewsListener,
    ) -> None:
        """`changed` is called after each change of the view, `heard` stirs it after news of its lists."""
        self.view, self.name = view, view.upstream.name
        self.task: asyncio.Task[None] | None = None
        self._kind, self._authorize, self._clock = kind, authorize, clock
        self._changed, self._heard = changed, heard
        self._connection: Connection | None = None
        self._eras = Eras()
        self._failures, self._down_since = 0, clock.monotonic()
        self._wake = asyncio.Event()
        self._demands: list[asyncio.Future[Discovery | ToolwayError]] = []

    def move(self, kind: UpstreamKind, authorize: Authorize, changed: Callable[[], None], heard: NewsListener) -> None:
        """It goes on for another gateway."""
        self._kind, self._authorize, self._changed, self._heard = kind, authorize, changed, heard

    def stir(self) -> None:
        """Somebody heard that a list changed: discover again soon."""
        self._wake.set()

    def notify(self, method: str, params: Mapping[str, Raw]) -> None:
        """Some list may no longer be what was discovered."""
        if method.endswith("/list_changed"):
            self._heard(self.name, method, "")

    async def ask(self, method: str, params: Raw) -> Raw:
        """Nobody is there to be asked."""
        raise ClientCannot(f"{method} cannot be answered: no client takes part in discovery")

    async def refresh(self) -> Discovery:
        """Discover now; raises UpstreamError when the upstream does not answer."""
        demand: asyncio.Future[Discovery | ToolwayError] = asyncio.get_running_loop().create_future()
        self._demands.append(demand)
        self._wake.set()
        answer = await demand
        if isinstance(answer, ToolwayError):
            raise answer
        return answer

    async def run(self) -> None:
        """Discover when the upstream comes up, when its lists change, on a schedule and on demand, until cancelled."""
        try:
            while True:
                await self._pause(await self._attempt())
        finally:
            self._answer(len(self._demands), UpstreamError(f"upstream {self.name!r} was changed or removed"))
            await self._disconnect()

    async def _pause(self, delay: float) -> None:
        """Wait for `delay` seconds, a demand, or a changed list; changes that come in a burst count once."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._wake.wait()
            if not self._demands:
                await asyncio.sleep(COALESCE_SECONDS)

    async def _attempt(self) -> float:
        """Discover once; returns after how many seconds to do it again."""
        self._wake.clear()
        asked = len(self._demands)
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                answer: Discovery | ToolwayError = self._came_up(await self._discover())
        except Exception as error:  # noqa: BLE001 - logged; one upstream must not end another
            answer = self._explained(error)
            self._went_down(answer)
            await self._disconnect()
        self._answer(asked, answer)
        if self._failures:
            return self._backoff()
        return self.view.upstream.settings.refresh_interval * random.uniform(0.8, 1.2)

    async def _discover(self) -> Discovery:
        if self._connection is not None:
            try:
                return await self._ask(self._connection)
            except UpstreamError:  # a lost session or connection says nothing about the upstream; a new one does
                await self._disconnect()
        connection = self._connection = await self._connect()
        discovery = self._came_up(await self._ask(connection))  # shown, however long it takes until news are to be had
        await self._watch(connection, discovery)
        return discovery

    async def _ask(self, connection: Connection) -> Discovery:
        return msgspec.structs.replace(await connection.discover(), eras=self._eras)

    async def _connect(self) -> Connection:
        """A connection to the first endpoint that answers."""
        upstream = self.view.upstream
        failure = UpstreamError(f"upstream {self.name!r} has no endpoint", sent=False)
        for endpoint in upstream.endpoints:
            try:
                self._eras = await self._kind.probe(upstream, endpoint, self._leg("modern"))
            except UpstreamError as error:
                failure = error
                continue
            if self._eras == Eras():
                raise UpstreamProtocol(f"endpoint {endpoint.id} of upstream {self.name!r} speaks no known MCP version")
            return self._kind.connect(upstream, endpoint, self._leg("modern" if self._eras.modern else "legacy"))
        raise failure

    async def probe(self, endpoint: Endpoint) -> Eras:
        """What an endpoint speaks; raises UpstreamError."""
        return await self._kind.probe(self.view.upstream, endpoint, self._leg("modern"))

    def _leg(self, era: Era) -> Leg:
        version = getattr(self._eras, era) or LATEST[era]
        return Leg(era, "", ClientProfile(version, {}, CLIENT_INFO), self, self._authorize, version)

    async def _watch(self, connection: Connection, discovery: Discovery) -> None:
        """Ask for news of the lists that can change, then look once more: they may have changed meanwhile."""
        lists = ((name, discovery.capabilities.get(name)) for name in ("tools", "prompts", "resources"))
        changing = {name: True for name, each in lists if isinstance(each, dict) and each.get("listChanged")}
        if not changing:
            return
        try:
            async with asyncio.timeout(WATCH_SECONDS):
                await connection.watch(msgspec.convert(changing, routing.Wants))
        except (UpstreamError, TimeoutError) as error:
            log.info("upstream %s does not report changed lists: %s", self.name, error)
        else:
            self.stir()

    def _came_up(self, discovery: Discovery) -> Discovery:
        """Keeps the old object when nothing changed, so that what was made of it stays valid."""
        self._failures = 0
        known = self.view.discovery
        if discovery == known:
            discovery = known
        self._show("up", discovery)
        return discovery

    def _went_down(self, failure: ToolwayError) -> None:
        if self._failures == 0:
            self._down_since = self._clock.monotonic()
            log.warning("upstream %s is down: %s", self.name, failure.message)
        self._failures += 1
        is_stale = self.view.status == "down" and self._clock.now() - self.view.since > GRACE_SECONDS
        self._show("down", None if is_stale else self.view.discovery, failure.message)

    def _show(self, status: Literal["up", "down"], discovery: Discovery | None, error: str = "") -> None:
        old = self.view
        since = old.since if old.status == status else self._clock.now()
        self.view = UpstreamView(old.upstream, discovery, status, error, since)
        if discovery is not old.discovery or (status, error) != (old.status, old.error):
            self._changed()

    def _backoff(self) -> float:
        """Full jitter below a bound that doubles; bounded lower while the upstream went down only recently."""
        eager = self._clock.monotonic() - self._down_since < EAGER_SECONDS
        cap = BACKOFF_SOON if eager else BACKOFF_CAP
        return random.uniform(0, min(cap, BACKOFF_BASE * 2.0 ** min(self._failures, 10)))

    def _explained(self, error: Exception) -> ToolwayError:
        if isinstance(error, ToolwayError):
            return error
        if isinstance(error, TimeoutError):
            return UpstreamTimeout(f"upstream {self.name!r} was not discovered within {ATTEMPT_SECONDS:g} s")
        log.error("discovery of upstream %s failed", self.name, exc_info=error)
        return UpstreamError(f"discovery of upstream {self.name!r} failed; the log says why")

    def _answer(self, asked: int, answer: Discovery | ToolwayError) -> None:
        """Tell the first `asked` of those who wait; some may have left."""
        for demand in self._demands[:asked]:
            if not demand.done():
                demand.set_result(answer)
        del self._demands[:asked]

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                await connection.close()
            except Exception:
                log.warning("closing the connection to upstream %s failed", self.name, exc_info=True)
