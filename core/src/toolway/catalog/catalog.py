"""The catalog service: follows what is declared and what upstreams offer, and swaps the snapshot that requests read."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from toolway.catalog.declared import Declared, Resolve, load
from toolway.catalog.discovery import Discoverer
from toolway.catalog.snapshot import EMPTY, Snapshot, build_snapshot
from toolway.catalog.watcher import Authorize
from toolway.errors import ToolwayError
from toolway.hookspecs.caching import PubSub
from toolway.hookspecs.routing import CatalogSource, Discovery, Upstream, UpstreamKind
from toolway.hookspecs.system import Entity, Stored
from toolway.plugin.kernel import Clock, Database

if TYPE_CHECKING:
    from toolway.catalog.records import CatalogRecords

log = logging.getLogger(__name__)

CHANNEL = "toolway.revisions"
POLL_SECONDS = 1.0
SETTLE_SECONDS = 0.05
"""News of upstreams that come within this time make one snapshot."""

SwapListener = Callable[[Snapshot, Snapshot], None]


class Catalog:
    """Holds the current snapshot. `failure` says why the last load failed, empty when it did not."""

    def __init__(
        self,
        *,
        store: Database,
        records: CatalogRecords,
        upstreams: Entity,
        servers: Entity,
        sources: Sequence[CatalogSource],
        resolve: Resolve,
        kinds: Mapping[str, UpstreamKind],
        authorize: Callable[[Upstream], Authorize],
        pubsub: PubSub,
        clock: Clock,
    ) -> None:
        self.snapshot, self.failure = EMPTY, ""
        self._store, self._records, self._pubsub = store, records, pubsub
        self._entities = (upstreams, servers)
        self._sources, self._resolve = tuple(sources), resolve
        self._discoverer = Discoverer(kinds, authorize, clock, self._heard)
        self._declared = Declared()
        self._revisions: Mapping[str, int] = {}
        self._listeners: list[SwapListener] = []
        self._unsaved: set[str] = set()
        self._news, self._check = asyncio.Event(), asyncio.Event()
        self._loading = asyncio.Lock()

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong now, for administrators; empty when all is well."""
        failed = (self.failure,) if self.failure else ()
        return (*failed, *self._declared.problems, *self.snapshot.problems)

    def filed(self, collection: str) -> Mapping[str, Stored]:
        """The `upstreams` or `servers` that the configuration declares, which the API shows and does not change."""
        return self._declared.filed.get(collection, {})

    def on_swap(self, listener: SwapListener) -> None:
        """Call `listener(old, new)` after each swap; it must not block."""
        self._listeners.append(listener)

    async def reload(self) -> None:
        """Read everything declared anew and swap; on failure the old snapshot stays and `problems` says so."""
        async with self._loading:
            try:
                await self._load()
            except Exception as error:
                reason = error.message if isinstance(error, ToolwayError) else type(error).__name__
                failure = f"the catalog could not be loaded, the previous one stays in force: {reason}"
                if failure != self.failure:
                    log.exception("loading the catalog failed")
                self.failure = failure
            else:
                self.failure = ""
                self.rebuild()

    def stir(self, name: str) -> None:
        """Discover the upstream again soon: a conversation with it heard that a list changed."""
        self._discoverer.stir(name)

    async def refresh(self, name: str) -> Discovery:
        """Discover an upstream now; its items are in the snapshot when this returns.

        Raises:
            NotFound: there is no enabled upstream of that name.
            UpstreamError: it does not answer.
        """
        try:
            return await self._discoverer.refresh(name)
        finally:
            self.rebuild()

    def rebuild(self) -> None:
        """Make a snapshot of what is known now and swap, if anything changed."""
        old = self.snapshot
        servers = list(self._declared.servers.values())
        new = build_snapshot(old.number + 1, list(self._discoverer.views.values()), servers, old)
        if new.upstreams == old.upstreams and new.servers == old.servers and new.problems == old.problems:
            return
        self.snapshot = new
        for listener in self._listeners:
            listener(old, new)

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Discover and follow changes while the context is open."""
        loops = [asyncio.create_task(loop) for loop in (self._follow_revisions(), self._follow_news())]
        try:
            async with self._discoverer.run(), self._pubsub.subscribe(CHANNEL, self._hinted):
                yield
        finally:
            for task in loops:
                task.cancel()
            await asyncio.gather(*loops, return_exceptions=True)

    async def _load(self) -> None:
        """One consistent read; the views of unchanged upstreams stay."""
        async with self._store.read() as tx:
            revisions = await self._records.revisions(tx)
            upstreams, servers = [await entity.list(tx) for entity in self._entities]
            known = await self._records.discoveries(tx)
        self._declared = await load(self._sources, upstreams, servers, self._resolve)
        self._discoverer.follow(self._declared.upstreams, known)
        self._revisions = revisions
        for name in known.keys() - self._declared.upstreams.keys():
            self._heard(name)

    def _heard(self, name: str) -> None:
        """What is known of an upstream changed."""
        shown, known = self.snapshot.upstreams.get(name), self._discoverer.views.get(name)
        if shown is None or known is None or shown.discovery is not known.discovery:
            self._unsaved.add(name)
        self._news.set()

    async def _hinted(self, payload: bytes) -> None:
        self._check.set()

    async def _follow_revisions(self) -> None:
        """Reload when a revision moved: after a message, and by polling."""
        while True:
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    await self._check.wait()
            except TimeoutError:
                pass
            self._check.clear()
            await self._surviving(self._reload_if_behind())

    async def _reload_if_behind(self) -> None:
        async with self._store.read() as tx:
            revisions = await self._records.revisions(tx)
        if self.failure or revisions != self._revisions:
            await self.reload()

    async def _follow_news(self) -> None:
        """Swap and save after news of upstreams."""
        while True:
            await self._news.wait()
            await asyncio.sleep(SETTLE_SECONDS)
            self._news.clear()
            self.rebuild()
            await self._surviving(self._save())

    async def _save(self) -> None:
        """Keep the last good lists for the next start."""
        names, views = set(self._unsaved), self._discoverer.views
        if not names:
            return
        async with self._store.write() as tx:
            for name in names:
                await self._records.save_discovery(tx, name, views[name].discovery if name in views else None)
        self._unsaved -= names

    async def _surviving(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it; the loops outlive a database that is away."""
        try:
            await work
        except Exception:
            log.warning("the catalog cannot reach the database; the snapshot stays", exc_info=True)
