"""What the catalog keeps besides declared objects: revisions and the last good discoveries."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import msgspec
from sqlmodel import select

from toolway.catalog.models import DiscoveryRow, RevisionRow
from toolway.hookspecs.routing import Discovery
from toolway.hookspecs.system import Transaction

log = logging.getLogger(__name__)


class CatalogRecords:
    """The rows behind `Catalog`."""

    async def revisions(self, tx: Transaction) -> Mapping[str, int]:
        """The revision of each snapshot part."""
        return {row.part: row.number for row in await tx.session.exec(select(RevisionRow))}

    async def discoveries(self, tx: Transaction) -> Mapping[str, Discovery]:
        """The last good discovery of each upstream; one that cannot be read is left out and found again."""
        found = {}
        for row in await tx.session.exec(select(DiscoveryRow)):
            try:
                found[row.upstream] = msgspec.msgpack.decode(row.document, type=Discovery)
            except msgspec.DecodeError:
                log.warning("the stored discovery of upstream %r cannot be read; it is discovered again", row.upstream)
        return found

    async def save_discovery(self, tx: Transaction, upstream: str, discovery: Discovery | None) -> None:
        """Replace or remove it."""
        row = await tx.session.get(DiscoveryRow, upstream)
        if discovery is None:
            if row is not None:
                await tx.session.delete(row)
            return
        document = msgspec.msgpack.encode(discovery)
        if row is None:
            tx.session.add(DiscoveryRow(upstream=upstream, document=document))
        elif row.document != document:
            row.document = document
            tx.session.add(row)
