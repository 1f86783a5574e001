"""Makes a document of what is declared by API."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from toolway.hookspecs.api import ANY, Incoming
from toolway.hookspecs.auth import Resource
from toolway.hookspecs.definitions import HIDDEN
from toolway.hookspecs.system import Entity, Stored, Transaction
from toolway.plugin import Kernel, NotFound
from toolway_transfer.credentials import leaves, replaced, taken_out
from toolway_transfer.document import digest, document, plain
from toolway_transfer.envelope import read_key, seal
from toolway_transfer.schemas import ExportOrder


class Exporter:
    """Exports what the principal may read; what the configuration file declares only when it is asked for by name."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def export(self, incoming: Incoming, order: ExportOrder) -> dict[str, Any]:
        """The document; raises NotFound, or Forbidden for credentials that only an administrator may take along."""
        keys = [read_key(msgspec.json.encode(each).decode()) for each in order.recipients]
        wants_credentials = order.passphrase is not None or bool(keys)
        if wants_credentials:
            incoming.demand("admin:write", ANY)
        async with self._kernel.database.read() as tx:
            chosen = await self._chosen(tx, incoming, order.what)
        objects: dict[str, list[Any]] = {}
        credentials: dict[tuple[str, str], Any] = {}
        for kind, stored in sorted(chosen.items()):
            for one in stored:
                shown, credentials[kind, one.name] = await taken_out(self._kernel, told(one))
                objects.setdefault(kind, []).append(shown)
        objects = self._masked(objects)
        if not wants_credentials:
            return document(objects, None)
        sealed = {
            f"{kind}/{one['name']}": {"digest": digest(one), "values": credentials[kind, one["name"]]}
            for kind, shown in objects.items()
            for one in shown
            if credentials[kind, one["name"]]
        }
        actor, taken = incoming.principal.id, sorted(sealed)
        async with self._kernel.database.change("transfer", actor, "credentials.export", "export") as tx:
            tx.after = {"credentials_of": taken, "recipients": [key.thumbprint() for key in keys]}
        return document(objects, await asyncio.to_thread(seal, sealed, order.passphrase, keys))

    async def _chosen(self, tx: Transaction, incoming: Incoming, what: Sequence[str]) -> Mapping[str, list[Stored]]:
        found: dict[str, dict[str, Stored]] = {}
        entities = {entity.kind: entity for entity in self._kernel.entities}
        for each in what or entities:
            kind, _, name = each.partition("/")
            entity = entity_of(entities, kind)
            if name:
                one = await entity.get(tx, name)
                incoming.demand(f"{entity.kind}:read", about(one) if one else name)
                if one is None:
                    raise NotFound(f"{entity.kind} has no {name!r}")
                found.setdefault(entity.kind, {})[name] = one
            else:
                every = [one for one in await entity.list(tx) if one.managed_by == "api"]
                seen = {one.name: one for one in every if incoming.may(f"{entity.kind}:read", about(one))}
                found.setdefault(entity.kind, {}).update(seen)
        return {kind: [objects[name] for name in sorted(objects)] for kind, objects in found.items() if objects}

    def _masked(self, objects: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """Whatever is known to be secret is removed from every text: somebody may have put it into a description."""
        text = msgspec.json.encode(objects).decode()
        if self._kernel.redact(text) == text:
            return objects
        texts = {pointer: self._kernel.redact(text, pointer.rpartition("/")[2]) for pointer, text in leaves(objects)}
        kept = {at: text for at, text in leaves(objects) if text == HIDDEN or re.fullmatch(r"/[^/]+/\d+/name", at)}
        return dict(replaced(objects, texts | kept))


def entity_of(entities: Mapping[str, Entity], kind: str) -> Entity:
    """The collection of that name, in the singular too; raises NotFound."""
    entity = entities.get(kind) or entities.get(f"{kind}s") or entities.get(f"{kind.removesuffix('y')}ies")
    if entity is None:
        raise NotFound(f"there are no {kind!r}; the gateway has {', '.join(sorted(entities))}")
    return entity


def told(stored: Stored) -> dict[str, Any]:
    """The members of an object that are not at their defaults; `kind` and `type` say what it is in any case."""
    dumped = stored.value.model_dump(mode="json", exclude_defaults=True, warnings=False)
    kind = getattr(stored.value, "kind", None)
    return dict(plain({**dumped, "name": stored.name, **({"kind": kind} if isinstance(kind, str) else {})}))


def about(stored: Stored) -> Resource:
    """What decisions on an object are about."""
    value: Any = stored.value
    return Resource(stored.name, owner=getattr(value, "owner", ""), visibility=getattr(value, "visibility", "public"))
