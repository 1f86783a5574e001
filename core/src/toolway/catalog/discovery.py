"""Discovery of all upstreams: one supervised watcher each, started, replaced and stopped as the catalog changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping

import msgspec

from toolway.catalog.snapshot import UpstreamView
from toolway.catalog.watcher import Authorize, Watcher
from toolway.errors import NotFound
from toolway.hookspecs.routing import Discovery, Upstream, UpstreamKind
from toolway.plugin.kernel import Clock

log = logging.getLogger(__name__)


class Discoverer:
    """Runs a watcher for every enabled upstream; `report` hears of each changed view, on the event loop."""

    def __init__(
        self,
        kinds: Mapping[str, UpstreamKind],
        authorize: Callable[[Upstream], Authorize],
        clock: Clock,
        report: Callable[[UpstreamView], None],
    ) -> None:
        self._kinds = kinds
        self._authorize = authorize
        self._clock = clock
        self._report = report
        self._watchers: dict[str, Watcher] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def follow(self, views: Iterable[UpstreamView]) -> None:
        """Watch exactly these; an upstream that changed is connected to anew, starting from the given view."""
        wanted = {view.upstream.name: view for view in views if view.upstream.settings.enabled}
        for name in self._watchers.keys() - wanted.keys():
            self._stop(name)
        for name, view in wanted.items():
            watcher = self._watchers.get(name)
            if watcher is None or not is_same(watcher.upstream, view.upstream):
                self._stop(name)
                self._start(view)
            else:
                watcher.upstream = view.upstream
                watcher.view = msgspec.structs.replace(watcher.view, upstream=view.upstream)

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
        if watcher is None:
            raise NotFound(f"there is no enabled upstream {name!r}")
        return await watcher.refresh()

    async def close(self) -> None:
        """Stop all watchers and close their connections."""
        for name in list(self._watchers):
            self._stop(name)
        await asyncio.gather(*self._ending, return_exceptions=True)

    def _start(self, view: UpstreamView) -> None:
        upstream = view.upstream
        kind = self._kinds.get(upstream.kind)
        watcher = Watcher(upstream, kind, self._authorize(upstream), self._clock, self._report, view)
        self._watchers[upstream.name] = watcher
        self._tasks[upstream.name] = asyncio.create_task(watcher.run(), name=f"discovery of {upstream.name}")
        self._tasks[upstream.name].add_done_callback(self._ended)

    def _stop(self, name: str) -> None:
        if self._watchers.pop(name, None) is not None:
            task = self._tasks.pop(name)
            self._ending.add(task)
            task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._ending.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s ended: this is a bug", task.get_name(), exc_info=error)


def is_same(old: Upstream, new: Upstream) -> bool:
    """Whether nothing changed that matters to a connection."""
    return msgspec.structs.replace(old, revision=new.revision, managed_by=new.managed_by) == new
