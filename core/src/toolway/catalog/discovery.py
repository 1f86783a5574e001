"""Discovery of all upstreams: one supervised watcher each, started, replaced and stopped as the catalog changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import msgspec

from toolway.catalog.snapshot import UpstreamView
from toolway.catalog.watcher import Authorize, Watcher
from toolway.errors import NotFound
from toolway.hookspecs.routing import Discovery, Upstream, UpstreamKind
from toolway.plugin.kernel import Clock


class Discoverer:
    """Knows what every upstream offers; `changed` hears the name of each whose view changed, on the event loop."""

    def __init__(
        self,
        kinds: Mapping[str, UpstreamKind],
        authorize: Callable[[Upstream], Authorize],
        clock: Clock,
        changed: Callable[[str], None],
    ) -> None:
        self._kinds = kinds
        self._authorize = authorize
        self._clock = clock
        self._changed = changed
        self._watchers: dict[str, Watcher] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._is_running = False

    @property
    def views(self) -> dict[str, UpstreamView]:
        """What is known of each upstream, by name."""
        return {name: watcher.view for name, watcher in self._watchers.items()}

    def follow(self, upstreams: Mapping[str, Upstream], stored: Mapping[str, Discovery]) -> None:
        """Know exactly these from now on; `stored` is what is known of them from an earlier run.

        An upstream that changed is connected to anew; until there is news of it, its last good list stays if it is
        still at the same place.
        """
        for name in self._watchers.keys() - upstreams.keys():
            self._stop(self._watchers.pop(name))
        for name, upstream in upstreams.items():
            watcher = self._watchers.get(name)
            if watcher is None:
                self._watch(UpstreamView(upstream, stored.get(name)))
            elif is_same(watcher.view.upstream, upstream):
                watcher.view = msgspec.structs.replace(watcher.view, upstream=upstream)
            else:
                self._stop(watcher)
                old = watcher.view.upstream
                was_there = (old.kind, old.endpoints) == (upstream.kind, upstream.endpoints)
                self._watch(UpstreamView(upstream, watcher.view.discovery if was_there else None))

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Contact the upstreams while the context is open; then close all connections."""
        self._is_running = True
        for watcher in self._watchers.values():
            watcher.start()
        try:
            yield
        finally:
            self._is_running = False
            for watcher in self._watchers.values():
                self._stop(watcher)
            await asyncio.gather(*self._ending, return_exceptions=True)

    def stir(self, name: str) -> None:
        """Discover the upstream again soon: somebody heard that a list of it changed."""
        if (watcher := self._watchers.get(name)) is not None:
            watcher.stir()

    async def refresh(self, name: str) -> Discovery:
        """Discover the upstream now.

        Raises:
            NotFound: there is no such upstream.
            UpstreamError: it does not answer.
        """
        watcher = self._watchers.get(name)
        if watcher is None or watcher.task is None:
            raise NotFound(f"there is no enabled upstream {name!r}")
        return await watcher.refresh()

    def _watch(self, view: UpstreamView) -> None:
        upstream = view.upstream
        kind = self._kinds.get(upstream.kind)
        watcher = Watcher(view, kind, self._authorize(upstream), self._clock, lambda: self._changed(upstream.name))
        self._watchers[upstream.name] = watcher
        if self._is_running:
            watcher.start()

    def _stop(self, watcher: Watcher) -> None:
        task, watcher.task = watcher.task, None
        if task is not None:
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
            task.cancel()


def is_same(old: Upstream, new: Upstream) -> bool:
    """Whether nothing changed that matters to a connection."""
    return msgspec.structs.replace(old, revision=new.revision, managed_by=new.managed_by) == new
