"""The server runner that acts while no plugin offers another one."""

from __future__ import annotations

from collections.abc import Iterable

from toolway.hookspecs.serving import ServerRunner
from toolway.plugin import Kernel, Plugin, Settings, hookimpl


class HypercornPlugin(Plugin[Settings]):
    """Heavy imports wait until a hook is called."""

    @hookimpl
    def toolway_server_runners(self, kernel: Kernel) -> Iterable[ServerRunner]:
        """`hypercorn`."""
        from toolway.bundled.hypercorn.connection import HypercornRunner

        return [HypercornRunner()]
