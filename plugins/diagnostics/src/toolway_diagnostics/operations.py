"""The API: checks, and a report."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from pydantic import BaseModel, Field
from starlette.responses import Response

from toolway.hookspecs.api import Incoming, Operation
from toolway.plugin import Kernel
from toolway_diagnostics.bundle import Archive, collected
from toolway_diagnostics.checks import of_running
from toolway_diagnostics.finding import Finding
from toolway_diagnostics.metrics import MetricSnapshot
from toolway_diagnostics.sections import sections
from toolway_diagnostics.slow_calls import SlowCalls
from toolway_diagnostics.watch import Watch

READ = "diagnostics:read"
PATH = "/api/v1/diagnostics"
ZIP = "application/zip"


class Findings(BaseModel):
    """What the node (a worker) that answers found."""

    node: str = Field(description="The process that answers.")
    items: list[Finding] = Field(description="Everything that was looked at.")


class DiagnosticsOperations:
    """A report is made for one at a time: it takes memory."""

    def __init__(self, kernel: Kernel, watch: Watch, metrics: MetricSnapshot, slow: SlowCalls) -> None:
        self._kernel, self._watch, self._metrics, self._slow = kernel, watch, metrics, slow
        self._one_at_a_time = asyncio.Lock()

    def operations(self) -> Iterable[Operation]:
        """All of them."""
        return [
            Operation("GET", f"{PATH}/checks", READ, self.checks, answer=Findings),
            Operation("GET", f"{PATH}/bundle", READ, self.bundle, answer=ZIP),
        ]

    async def checks(self, incoming: Incoming) -> Findings:
        """Look at everything that could be wrong with the answering node, and tell what to do about it."""
        return Findings(node=self._kernel.node, items=await of_running(self._kernel, self._watch))

    async def bundle(self, incoming: Incoming) -> Response:
        """Write a report of the answering node, without secrets: a zip archive with `report.html` and `report.json`."""
        kernel = self._kernel
        async with self._one_at_a_time:
            archive = Archive(kernel.node, kernel.clock.now())
            collectors = sections(kernel, self._watch, self._metrics, self._slow)
            found = await collected(collectors, kernel.redact)
            content = await asyncio.to_thread(archive.packed, found)
        told = {"content-disposition": f'attachment; filename="{archive.name}"', "cache-control": "no-store"}
        return Response(content, 200, told, ZIP)
