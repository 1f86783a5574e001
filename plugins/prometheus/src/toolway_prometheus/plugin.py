"""Settings and the plugin class."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pydantic import Field

from toolway.hookspecs.api import Operation
from toolway.hookspecs.system import Service
from toolway.hookspecs.telemetry import CallWatcher, MetricReader
from toolway.plugin import Kernel, Plugin, Settings, hookimpl

if TYPE_CHECKING:
    from toolway_prometheus.page import Page


class PrometheusSettings(Settings):
    """Where the page is, and who may read it."""

    public: bool = Field(
        False, description="Everybody may read the page; else the permission `metrics:read` is needed."
    )
    bind: str = Field(
        "",
        pattern=r"^(|[^\s/]{1,255}:[1-9][0-9]{0,4})$",
        description="An address and port of its own, such as `127.0.0.1:9464`: the page is there in place of the "
        "gateway's port.",
    )
    exemplars: bool = Field(True, description="Times of calls bear the id of a trace, where there is one.")


class PrometheusPlugin(Plugin[PrometheusSettings]):
    """Registers everything; the page is made when the first hook with a kernel is called."""

    _made: tuple[Kernel, Page] | None = None

    @hookimpl
    def toolway_metric_readers(self, kernel: Kernel) -> Iterable[MetricReader]:
        """The page."""
        return [self._page(kernel)]

    @hookimpl
    def toolway_call_watchers(self, kernel: Kernel) -> Iterable[CallWatcher]:
        """Exemplars."""
        return [self._page(kernel).exemplars] if self.settings.exemplars else []

    @hookimpl
    def toolway_routes(self, kernel: Kernel) -> Iterable[Operation]:
        """`/metrics`, unless it has an address of its own."""
        from toolway_prometheus.operations import operations

        return [] if self.settings.bind else operations(self._page(kernel), is_public=self.settings.public)

    @hookimpl
    def toolway_services(self, kernel: Kernel) -> Iterable[Service]:
        """The address of its own."""
        from toolway_prometheus.listener import Listener

        if not self.settings.bind:
            return []
        return [Listener(kernel, self._page(kernel), self.settings.bind, is_public=self.settings.public)]

    def _page(self, kernel: Kernel) -> Page:
        from toolway_prometheus.page import Page

        if self._made is None or self._made[0] is not kernel:
            self._made = kernel, Page(kernel.clock, kernel.redact)
        return self._made[1]
