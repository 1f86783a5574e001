"""The API of exports and imports: every object needs the permission that the API of its collection asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from starlette.responses import Response

from toolway.hookspecs.api import SIGNED_IN, Incoming, Operation, document as answer
from toolway.plugin import Kernel
from toolway_transfer.document import Document
from toolway_transfer.exporter import Exporter
from toolway_transfer.importer import Importer
from toolway_transfer.plugin import TransferSettings
from toolway_transfer.schemas import ExportOrder, ImportOrder, ImportReport

AT_ONCE = 2
"""Passphrases take 64 MiB each while they become keys, documents many times their size."""


class Transfers:
    """Both of them."""

    def __init__(self, kernel: Kernel, settings: TransferSettings) -> None:
        self._exporter, self._importer = Exporter(kernel), Importer(kernel, settings)
        self._few = asyncio.Semaphore(AT_ONCE)

    def operations(self) -> Iterable[Operation]:
        """What the API offers."""
        return [
            Operation("POST", "/api/v1/export", SIGNED_IN, self.export, ExportOrder, answer=Document),
            Operation("POST", "/api/v1/import", SIGNED_IN, self.take, ImportOrder, answer=ImportReport),
        ]

    async def export(self, incoming: Incoming) -> Response:
        """Export declared objects: everything that you may read, or what is asked for."""
        async with self._few:
            made: dict[str, Any] = await self._exporter.export(incoming, incoming.body)
        return answer(made)

    async def take(self, incoming: Incoming) -> ImportReport:
        """Import a document, in one transaction, with your permissions."""
        async with self._few:
            return await self._importer.run(incoming, incoming.body)
