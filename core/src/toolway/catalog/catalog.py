"""The catalog service: follows what is declared and what upstreams offer, and swaps the snapshot that requests read."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

import msgspec
from sqlmodel import select

from toolway.background import Background
from toolway.catalog.declared import Declared, load
from toolway.catalog.definitions import Definitions
from toolway.catalog.discovery import Authorize, Watcher
from toolway.catalog.models import DiscoveryRow
from toolway.catalog.parts import Parts
from toolway.catalog.snapshot import EMPTY, Snapshot, build_snapshot
from toolway.catalog.store import REVISIONS_CHANNEL, Store
from toolway.errors import NotFound, ToolwayError
from toolway.hookspecs.caching import PubSub
from toolway.hookspecs.catalog import NewsListener, UpstreamView
from toolway.hookspecs.routing import CatalogSource, Desired, Discovery, Endpoint, Eras, Upstream
from toolway.hookspecs.system import SnapshotPart, Transaction
from toolway.plugin.kernel import Clock

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
SETTLE_SECONDS = 0.05
"""News of upstreams that come within this time make one snapshot."""

SwapListener = Callable[[Snapshot, Snapshot], None]


class Catalog:
    """Holds the current snapshot; `configured` is what is declared outside the database.

    `failure` says why the last load failed, empty when it did not; `seen_at` is when the database last told of changes.
    """

    name = "catalog"

    def __init__(
        self,
        *,
        store: Store,
        definitions: Definitions,
        configured: Desired,
        sources: Sequence[CatalogSource],
        parts: Sequence[SnapshotPart],
        authorize: Callable[[Upstream], Authorize],
        pubsub: PubSub,
        clock: Clock,
    ) -> None:
        self.snapshot, self.failure = EMPTY, ""
        self._store, self._pubsub, self._clock = store, pubsub, clock
        self._definitions, self._sources = definitions, sources
        self.configured, self._authorize = configured, authorize
        self._declared = Declared()
        self._parts = Parts(parts)
        self._revisions: Mapping[str, int] = {}
        self._saved: Mapping[str, Discovery] = {}
        self._watchers: dict[str, Watcher] = {}
        self._listeners, self._news_listeners = list[SwapListener](), list[NewsListener]()
        self._news, self._check = asyncio.Event(), asyncio.Event()
        self._loading, self.seen_at = asyncio.Lock(), clock.monotonic()
        self._background, self._is_running = Background(), False

    async def check(self) -> str:
        """What is wrong with the snapshot, empty when nothing is; for `/ready`."""
        return self.failure

    @property
    def critical(self) -> bool:
        """A catalog that cannot be loaded is only told while an older one is in force."""
        return self.snapshot.number == 0

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong now, for administrators; empty when all is well."""
        failed = (self.failure,) if self.failure else ()
        return (*failed, *self._declared.problems, *self.snapshot.problems)

    def on_swap(self, listener: SwapListener) -> None:
        """Call `listener(old, new)` after each swap; it must not block."""
        self._listeners.append(listener)

    async def reload(self) -> None:
        """Read everything declared, and all parts, anew and swap; on failure the old snapshot stays: see `problems`."""
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

    def on_news(self, listener: NewsListener) -> None:
        """See `plugin.Catalog`."""
        self._news_listeners.append(listener)

    def hear(self, name: str, method: str, uri: str = "") -> None:
        """An upstream said this; it is discovered again soon if a list changed."""
        for listener in self._news_listeners:
            listener(name, method, uri)
        if method.endswith("/list_changed") and (watcher := self._watchers.get(name)):
            watcher.stir()

    async def refresh(self, name: str) -> Discovery:
        """Discover an upstream now; its items are in the snapshot when this returns.

        Raises:
            NotFound: there is no enabled upstream of that name.
            UpstreamError: it does not answer.
        """
        watcher = self._watchers.get(name)
        if watcher is None or watcher.task is None:
            raise NotFound(f"there is no enabled upstream {name!r}")
        try:
            return await watcher.refresh()
        finally:
            self.rebuild()

    async def probe(self, name: str, endpoint: Endpoint) -> Eras:
        """Ask an endpoint what it speaks, which shows that it is well; raises NotFound, UpstreamError."""
        if (watcher := self._watchers.get(name)) is None:
            raise NotFound(f"there is no upstream {name!r}")
        return await watcher.probe(endpoint)

    def rebuild(self) -> None:
        """Make a snapshot of what is known now and swap, if anything changed."""
        old, views = self.snapshot, [watcher.view for watcher in self._watchers.values()]
        new = build_snapshot(old.number + 1, views, self._declared.servers, old, self._parts.values)
        is_same_catalog = (new.upstreams, new.servers, new.problems) == (old.upstreams, old.servers, old.problems)
        if is_same_catalog and new.parts is old.parts:
            return
        self.snapshot = new
        known = {collision for view in old.servers.values() for collision in view.collisions}
        for each in {collision for view in new.servers.values() for collision in view.collisions} - known:
            what = f"{' and '.join(each.items)} want one name, {each.name}"
            log.warning("server %s: %s (%s)", each.server, what, each.resolved)
        for listener in self._listeners:
            listener(old, new)

    def take_over(self, other: Catalog) -> None:
        """Go on with the discovery of those upstreams of another catalog that are the same here; it ends."""
        other._is_running = False
        for name, mine in self._watchers.items():
            known, upstream = other._watchers.get(name), mine.view.upstream
            if known is None or known.task is None or known.view.upstream != upstream:
                continue
            known.move(self._definitions.kinds[upstream.kind], self._authorize(upstream), self._news.set, self.hear)
            other._background.hand_over(known.task, self._background)
            self._watchers[name] = known
        self.rebuild()

    def resume(self) -> None:
        """Discover every upstream that is not being discovered yet, now and from now on."""
        self._is_running = True
        for watcher in self._watchers.values():
            self._start(watcher)

    @contextlib.asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Discover and follow changes while the context is open; then close all connections to upstreams."""
        self._background.start(self._forever(self._follow_revisions), "following of revisions")
        self._background.start(self._forever(self._follow_news), "following of upstreams")
        self.resume()
        try:
            async with self._pubsub.subscribe(REVISIONS_CHANNEL, self._hinted):
                yield
        finally:
            self._is_running = False
            await self._background.close()

    async def _load(self) -> None:
        """One consistent read; the views of unchanged upstreams stay."""
        async with self._store.read() as tx:
            revisions = await self._store.revisions(tx)
            parts = await self._parts.load(tx, revisions)
            self._declared = await load(tx, self._definitions, self.configured, self._sources)
            self._saved = await saved_discoveries(tx)
        self._parts.use(parts, revisions)
        self._revisions = revisions
        old, self._watchers = self._watchers, {}
        for name, upstream in self._declared.upstreams.items():
            self._watchers[name] = self._watcher(upstream, old.get(name))
        for watcher in old.values():
            if watcher.task and self._watchers.get(watcher.name) is not watcher:
                watcher.task.cancel()
        self._news.set()

    def _watcher(self, upstream: Upstream, old: Watcher | None) -> Watcher:
        """The old one, or one that connects anew; then the last good list stays if it is still at the same place."""
        known = self._saved.get(upstream.name)
        if old is not None:
            was = old.view.upstream
            if was == upstream:
                old.view = msgspec.structs.replace(old.view, discovery=old.view.discovery or known)
                return old
            is_there = (was.kind, was.endpoints) == (upstream.kind, upstream.endpoints)
            known = old.view.discovery if is_there else None
        kind = self._definitions.kinds[upstream.kind]
        view = UpstreamView(upstream, known)
        watcher = Watcher(view, kind, self._authorize(upstream), self._clock, self._news.set, self.hear)
        self._start(watcher)
        return watcher

    def _start(self, watcher: Watcher) -> None:
        if self._is_running and watcher.task is None and watcher.view.upstream.settings.enabled:
            watcher.task = self._background.start(watcher.run(), f"discovery of {watcher.name}")

    async def _forever(self, step: Callable[[], Awaitable[None]]) -> None:
        """One step after the other; the loops outlive a database that is away."""
        while True:
            try:
                await step()
            except Exception:
                log.warning("the catalog cannot reach the database; the snapshot stays", exc_info=True)

    async def _hinted(self, payload: bytes) -> None:
        self._check.set()

    async def _follow_revisions(self) -> None:
        """Reload when a revision moved: after a message, and by polling."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_SECONDS):
                await self._check.wait()
        self._check.clear()
        async with self._store.read() as tx:
            revisions = await self._store.revisions(tx)
        self.seen_at = self._clock.monotonic()
        if self.failure or revisions != self._revisions:
            await self.reload()

    async def _follow_news(self) -> None:
        """Swap and save after news of upstreams."""
        await self._news.wait()
        await asyncio.sleep(SETTLE_SECONDS)
        self._news.clear()
        self.rebuild()
        await self._save()

    async def _save(self) -> None:
        """Keep the last good lists for the next start."""
        views = [watcher.view for watcher in self._watchers.values()]
        known = {view.upstream.name: view.discovery for view in views if view.discovery}
        changed = [name for name in known.keys() | self._saved.keys() if known.get(name) != self._saved.get(name)]
        if not changed:
            return
        async with self._store.write() as tx:
            await self._store.alone(tx, "discovery")  # nodes that start together make the same rows
            for name in changed:
                await save_discovery(tx, name, known.get(name))
        self._saved = known


async def saved_discoveries(tx: Transaction) -> dict[str, Discovery]:
    """The last good discovery of each upstream; one that cannot be read is left out and found again."""
    found = {}
    for row in await tx.session.exec(select(DiscoveryRow)):
        try:
            found[row.upstream] = msgspec.msgpack.decode(row.document, type=Discovery)
        except msgspec.DecodeError:
            log.warning("the stored discovery of upstream %r cannot be read; it is discovered again", row.upstream)
    return found


async def save_discovery(tx: Transaction, upstream: str, discovery: Discovery | None) -> None:
    """Replace or remove it."""
    if discovery is not None:
        await tx.session.merge(DiscoveryRow(upstream=upstream, document=msgspec.msgpack.encode(discovery)))
    elif row := await tx.session.get(DiscoveryRow, upstream):
        await tx.session.delete(row)
