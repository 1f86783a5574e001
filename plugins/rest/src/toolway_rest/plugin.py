"""The plugin class: the upstream kind `rest`, and what shows failures of REST APIs as results of tools."""

from __future__ import annotations

from collections.abc import Iterable

from toolway.hookspecs.routing import RequestMiddleware, UpstreamKind
from toolway.plugin import Kernel, Plugin, Settings, hookimpl


class RestPlugin(Plugin[Settings]):
    """Heavy imports wait until a hook is called."""

    @hookimpl
    def toolway_upstream_kinds(self, kernel: Kernel) -> Iterable[UpstreamKind]:
        """`rest`."""
        from toolway_rest.kind import RestKind

        return [RestKind(kernel)]

    @hookimpl
    def toolway_request_middleware(self, kernel: Kernel) -> Iterable[RequestMiddleware]:
        """Tells the client what the API answered, after all attempts failed."""
        from toolway_rest.failures import ShownFailures

        return [ShownFailures()]
