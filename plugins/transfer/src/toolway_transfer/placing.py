"""Puts one object of a document into its place, or says why not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import copy
from typing import Any

import msgspec
from pydantic import BaseModel, TypeAdapter, ValidationError

from toolway.hookspecs.api import Incoming, adapter_of
from toolway.hookspecs.auth import Resource
from toolway.hookspecs.system import Change, Entity, Guarded, Stored
from toolway.plugin import Conflict, InvalidInput, Kernel, ToolwayError, refusal
from toolway_transfer.credentials import held_open, hidden, leaves, missing, put_back, taken_out
from toolway_transfer.exporter import about, told
from toolway_transfer.plugin import TransferSettings
from toolway_transfer.programs import is_program, read_program
from toolway_transfer.reading import Wanted
from toolway_transfer.schemas import Action, ImportedObject, ImportOrder
from toolway_transfer.untrusted import gives_rights, goes_elsewhere, kept

_URL = re.compile(r"https?://\S+", re.IGNORECASE)
TEXTS = ("/name", "/description", "/instructions")
DRAFTED = ("members", "owner")
"""Members that may need objects which need this one; they can come later."""


class Adapters(dict[str, TypeAdapter[Any]]):
    """What reads objects of each collection, made once: that takes a moment."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__()
        self._kernel = kernel

    def __missing__(self, kind: str) -> TypeAdapter[Any]:
        (schema,) = [entity.schema for entity in self._kernel.entities if entity.kind == kind]
        self[kind] = adapter_of(schema)
        return self[kind]


class Placed(msgspec.Struct):
    """What is to be put, as far as it could be read."""

    stored: Stored | None
    value: Any
    row: ImportedObject
    is_same: bool = False


class Placer:
    """Places objects for one principal in one transaction."""

    def __init__(
        self, kernel: Kernel, settings: TransferSettings, adapters: Adapters, incoming: Incoming, order: ImportOrder
    ) -> None:
        self._adapters = adapters
        self._kernel, self._settings, self.incoming, self.order = kernel, settings, incoming, order
        self.entities = {entity.kind: entity for entity in kernel.entities}
        self._drafts = set[tuple[str, str]]()
        self.on_conflict = order.conflict or ("fail" if order.mode == "create" else "overwrite")

    def unknown(self, one: Wanted) -> str:
        """What is wrong when there is no such collection; else nothing."""
        if one.kind in self.entities:
            return ""
        return f"there are no {one.kind!r} here; a plugin that adds them must be in plugins.enable"

    def is_left_out(self, kind: str) -> bool:
        """Whether objects of this collection give rights, and the file is not trusted."""
        return not self.order.trusted and gives_rights(self.entities[kind])

    async def prepare(self, tx: Change, one: Wanted) -> Placed:
        """Read it beside what exists."""
        entity, name = self.entities[one.kind], one.value["name"]
        stored = await entity.get(tx, name)
        target = about(stored) if stored else Resource(name)
        self.incoming.demand(f"{one.kind}:write", target, is_new=stored is None)  # before anything is told of it
        old = (await taken_out(self._kernel, told(stored))) if stored else None
        raw, ignored = self._taken(one.value, old[0] if old else None)
        row = ImportedObject(kind=one.kind, name=one.name, action="failed", ignored=ignored)
        row.new_name = name if name != one.name else ""
        raw = self._checked(one.kind, put_back(self._kernel, raw, one.credentials))
        row.missing = self._still_missing(raw, old)
        value = await self._read(entity, held_open(raw, name, row.missing))
        placed = Placed(stored, value, row)
        if old is not None:
            placed.is_same = _is_same(told(Stored(name, value)), raw, *old)
        return placed

    async def place(self, tx: Change, one: Wanted, *, draft: bool = False) -> ImportedObject:
        """Put it; raises what the API would. A draft is the part that needs nothing else."""
        placed = await self.prepare(tx, one)
        row, stored, value = placed.row, placed.stored, placed.value
        if (one.kind, value.name) in self._drafts:
            stored, placed.is_same = None, False
        if stored is None and self.order.mode == "update":
            return _as(row, "skipped", "there is none of that name, and update adds nothing")
        self._demand(one.kind, stored, value)
        if placed.is_same:
            return _as(row, "unchanged")
        if stored is not None and self.on_conflict == "skip":
            return _as(row, "skipped", "there is another one of that name")
        if stored is not None and self.on_conflict == "fail":
            raise Conflict("there is another one of that name; choose to skip, overwrite or rename")
        if draft:
            value = value.model_copy(
                update={member: _empty(value, member) for member in DRAFTED if hasattr(value, member)}
            )
            self._drafts.add((one.kind, value.name))
        await self._put(tx, one.kind, stored, value)
        if draft:
            tx.single.pop()  # what is made of it is recorded
        return _as(row, "changed" if stored else "renamed" if one.is_renamed else "created")

    async def remove(self, tx: Change, kind: str, stored: Stored) -> ImportedObject:
        """Remove what the document does not have."""
        entity = self.entities[kind]
        self.incoming.demand(f"{kind}:write", about(stored))
        if isinstance(entity, Guarded):
            entity.guard(self.incoming, stored.value, None)
        before = hidden(told(stored))
        await entity.delete(tx, stored.name)
        _record(tx, f"{kind}.delete", f"{kind}/{stored.name}", before, None)
        return ImportedObject(kind=kind, name=stored.name, action="removed", reason="the document does not have it")

    def _taken(self, new: dict[str, Any], old: dict[str, Any] | None) -> tuple[dict[str, Any], list[str]]:
        merged = {**old, **new} if old and self.order.mode == "update" else new
        if self.order.trusted:
            return dict(merged), []
        return kept(merged, old, allow_private=self.order.allow_private)

    def _checked(self, kind: str, raw: dict[str, Any]) -> dict[str, Any]:
        """Every URL of an upstream is one that the gateway may dial, as far as its text tells."""
        if kind != "upstreams":
            return raw
        urls = [text for at, text in leaves(raw) if _URL.fullmatch(text) and at not in TEXTS]
        if self.order.allow_private and not raw.get("allow_private") and any(map(self._is_private, urls)):
            raw = {**raw, "allow_private": True}
        guard = self._kernel.http.guard(allow_private=raw.get("allow_private") is True)
        for url in urls:
            try:
                guard.check_url(url)
            except ToolwayError as error:
                place = url.partition("?")[0].rpartition("@")[2]
                raise InvalidInput(
                    f"{place!r}: {error.message}; if it is meant, import with private addresses"
                ) from None
        return raw

    def _is_private(self, url: str) -> bool:
        try:
            self._kernel.http.guard().check_url(url)
        except ToolwayError:
            return True
        return False

    def _still_missing(self, raw: dict[str, Any], old: tuple[Any, dict[str, str]] | None) -> list[str]:
        """Where it has no credential of its own, and cannot keep the one that is here."""
        places = missing(raw)
        if old is None or (not self.order.trusted and goes_elsewhere(raw_told(raw), old[0])):
            return places
        return [pointer for pointer in places if pointer not in old[1]]

    async def _read(self, entity: Entity, raw: dict[str, Any]) -> BaseModel:
        if entity.kind == "upstreams" and is_program(raw):
            return read_program(self._kernel, self._settings, self.incoming, self._adapters["upstreams"], raw)
        try:
            value: BaseModel = self._adapters[entity.kind].validate_json(msgspec.json.encode(raw), strict=True)
        except ValidationError as error:
            raise refusal(error, entity.schema) from None
        return value

    def _demand(self, kind: str, stored: Stored | None, value: Any) -> None:
        """What the API demands of whoever puts it, besides the permission to write it."""
        entity, write, owner = self.entities[kind], f"{kind}:write", getattr(value, "owner", "")
        if owner != (getattr(stored.value, "owner", "") if stored else ""):
            self.incoming.demand(write, Resource(value.name, owner=owner, visibility="private"), is_new=stored is None)
        if isinstance(entity, Guarded):
            entity.guard(self.incoming, stored.value if stored else None, value)

    async def _put(self, tx: Change, kind: str, stored: Stored | None, value: Any) -> None:
        entity = self.entities[kind]
        await entity.put(tx, value)
        now = await entity.get(tx, value.name)
        before, after = (hidden(told(each)) if each else None for each in (stored, now))
        _record(tx, f"{kind}.{'put' if stored else 'create'}", f"{kind}/{value.name}", before, after)


def raw_told(raw: dict[str, Any]) -> dict[str, Any]:
    """As an object that exists is told: `kind` stands in any case."""
    return {"kind": "http", **raw} if "endpoints" in raw else raw


def _is_same(new: Any, raw: Any, old: Any, opened: Mapping[str, str]) -> bool:
    """Whether an object is as it was, and each credential that it brings the one that is here."""
    sent = dict(leaves(raw))
    brought = {at: sent[at] for at, text in leaves(new) if text.startswith("sealed:") and at in sent}
    is_kept = all(text.startswith("sealed:") or opened.get(at) == text for at, text in brought.items())
    return hidden(new) == old and is_kept


def _record(tx: Change, action: str, subject: str, before: Any, after: Any) -> None:
    one = copy(tx)
    one.action, one.subject, one.before, one.after = action, subject, before, after
    tx.single.append(one)


def _as(row: ImportedObject, action: Action, reason: str = "") -> ImportedObject:
    row.action, row.reason = action, reason
    return row


def _empty(value: Any, member: str) -> Any:
    return type(value).model_fields[member].get_default(call_default_factory=True)
