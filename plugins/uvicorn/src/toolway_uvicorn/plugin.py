"""The server runner `uvicorn`."""

from __future__ import annotations

from collections.abc import Iterable

from toolway.hookspecs.serving import ServerRunner
from toolway.plugin import Kernel, Plugin, Settings, hookimpl


class UvicornPlugin(Plugin[Settings]):
    """Once enabled, it serves in place of hypercorn."""

    @hookimpl
    def toolway_server_runners(self, kernel: Kernel) -> Iterable[ServerRunner]:
        """`uvicorn`."""
        from toolway_uvicorn.connection import UvicornRunner

        return [UvicornRunner()]
