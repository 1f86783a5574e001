"""Generic collections: list, read, create, replace and delete for everything that is an `Entity`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from toolway.admin.operations import ANY, Answer, Incoming, Operation, refuse
from toolway.admin.pages import PageQuery, page
from toolway.catalog.entities import hidden
from toolway.errors import Conflict, InvalidInput, NotFound, PreconditionFailed
from toolway.hookspecs.system import Entity, Stored


class Meta(BaseModel):
    """What the gateway knows of an object: read-only, ignored in bodies."""

    model_config = ConfigDict(extra="allow")

    revision: int = Field(description="Grows with every change; the `ETag`.")
    managed_by: str = Field(description="`api`, or `file` for what the configuration declares and the API only shows.")


class Member(BaseModel):
    """One object: the members of its configuration table, and `meta`."""

    model_config = ConfigDict(extra="allow")

    name: str = Field(description="Unique name.")
    meta: Meta


class MemberPage(BaseModel):
    """One page of a collection, sorted by name."""

    items: list[Member]
    next_cursor: str | None = Field(description="For the next page; null on the last one.")


Describe = Callable[[Incoming, str], Mapping[str, Any]]
"""Tells what `meta` says of the object with that name besides revision and origin."""


class Collection:
    """The operations on one entity. `changed` is awaited after each change, before the answer."""

    def __init__(self, entity: Entity, describe: Describe, changed: Callable[[], Awaitable[None]]) -> None:
        self._entity = entity
        self._describe = describe
        self._changed = changed
        self._read, self._write = f"{entity.kind}:read", f"{entity.kind}:write"
        self._part: str = getattr(entity, "part", entity.kind)

    def operations(self) -> list[Operation]:
        """What the API offers for it."""
        kind, schema = self._entity.kind, self._entity.schema
        path, one = f"/api/v1/{kind}", f"/api/v1/{kind}/{{name}}"
        read, write = self._read, self._write
        replaced = (200, 201)
        return [
            Operation("GET", path, read, f"List {kind}.", self.list, None, PageQuery, MemberPage, filters=True),
            Operation("POST", path, write, f"Add one to {kind}.", self.create, schema, None, Member, (201,)),
            Operation("GET", one, read, f"Read one of {kind}.", self.get, None, None, Member, conditional=True),
            Operation("PUT", one, write, f"Set one of {kind}.", self.put, schema, None, Member, replaced, False, True),
            Operation("DELETE", one, write, f"Remove one of {kind}.", self.delete, success=(204,), conditional=True),
        ]

    async def list(self, incoming: Incoming, query: PageQuery) -> dict[str, Any]:
        """The objects that the principal may see."""
        async with incoming.context.store.read() as tx:
            stored = {one.name: one for one in await self._entity.list(tx)}
        stored |= incoming.context.catalog.filed(self._entity.kind)
        seen = {name: one for name, one in stored.items() if incoming.may(self._read, name)}
        if not seen and not incoming.may(self._read, ANY):
            refuse(incoming, self._read)
        shown = page(seen, query)
        return {**shown, "items": [self._shown(incoming, one) for one in shown["items"]]}

    async def get(self, incoming: Incoming) -> Answer:
        """One object with its `ETag`."""
        return self._answer(incoming, await self._stored(incoming, incoming.name))

    async def create(self, incoming: Incoming, body: BaseModel) -> Answer:
        """Add an object that does not exist yet."""
        name = _name_of(body)
        if not incoming.may(self._write, name):
            refuse(incoming, self._write)
        async with self._change(incoming, "create", name) as tx:
            if await self._entity.get(tx, name) is not None:
                raise Conflict(f"{self._entity.kind} has {name!r} already; use PUT to replace it")
            await self._entity.put(tx, body)
        return await self._after(incoming, name, 201)

    async def put(self, incoming: Incoming, body: BaseModel) -> Answer:
        """Create or replace; the same body twice changes nothing the second time."""
        name = _name_of(body)
        if name != incoming.name:
            raise InvalidInput(f"the body names {name!r}, the path {incoming.name!r}; they must agree")
        async with incoming.context.store.read() as tx:
            old = await self._entity.get(tx, name)
        if old is not None and old.value == body and old.managed_by == "api":
            _check_precondition(incoming, old)
            return self._answer(incoming, old)
        async with self._change(incoming, "put", name) as tx:
            old = await self._entity.get(tx, name)
            _check_precondition(incoming, old)
            await self._entity.put(tx, body)
        return await self._after(incoming, name, 201 if old is None else 200)

    async def delete(self, incoming: Incoming) -> Answer:
        """Remove an object."""
        async with self._change(incoming, "delete", incoming.name) as tx:
            old = await self._entity.get(tx, incoming.name)
            if old is None:
                raise self._missing(incoming.name)
            _check_precondition(incoming, old)
            await self._entity.delete(tx, incoming.name)
        await self._changed()
        return Answer(None, 204)

    def _change(self, incoming: Incoming, action: str, name: str) -> Any:
        kind = self._entity.kind
        if name in incoming.context.catalog.filed(kind):
            raise Conflict(f"{name!r} is declared in the configuration; change it there")
        return incoming.context.store.change(self._part, incoming.principal.id, f"{kind}.{action}", f"{kind}/{name}")

    async def _after(self, incoming: Incoming, name: str, status: int) -> Answer:
        await self._changed()
        location = {"location": f"/api/v1/{self._entity.kind}/{name}"} if status == 201 else {}
        return self._answer(incoming, await self._stored(incoming, name), status, location)

    async def _stored(self, incoming: Incoming, name: str) -> Stored:
        stored = incoming.context.catalog.filed(self._entity.kind).get(name)
        if stored is None:
            async with incoming.context.store.read() as tx:
                stored = await self._entity.get(tx, name)
        if stored is None:
            raise self._missing(name)
        return stored

    def _missing(self, name: str) -> NotFound:
        return NotFound(f"{self._entity.kind} has no {name!r}")

    def _answer(
        self, incoming: Incoming, stored: Stored, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> Answer:
        return Answer(self._shown(incoming, stored), status, {"etag": _etag(stored), **(headers or {})})

    def _shown(self, incoming: Incoming, stored: Stored) -> dict[str, Any]:
        described = self._describe(incoming, stored.name)
        meta = {"revision": stored.revision, "managed_by": stored.managed_by, **described}
        return {**hidden(stored.value.model_dump(mode="json")), "meta": meta}


def _name_of(body: BaseModel) -> str:
    name: str = body.name  # type: ignore[attr-defined]
    return name


def _etag(stored: Stored) -> str:
    return f'"{stored.revision}"'


def _check_precondition(incoming: Incoming, stored: Stored | None) -> None:
    """`If-Match` and `If-None-Match: *` (RFC 9110 sections 13.1.1 and 13.1.2); raises PreconditionFailed."""
    wanted = incoming.headers.get("if-match")
    if wanted is not None and not (stored and {_etag(stored), "*"} & {tag.strip() for tag in wanted.split(",")}):
        raise PreconditionFailed("the object is not the one that If-Match names; read it again and repeat the change")
    if incoming.headers.get("if-none-match", "").strip() == "*" and stored is not None:
        raise PreconditionFailed("the object exists already, and If-None-Match: * asks that it does not")
