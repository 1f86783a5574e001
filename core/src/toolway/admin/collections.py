"""Generic collections: list, read, create, replace and delete for everything that is an `Entity`."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from toolway.admin.operations import Answer, Incoming, Operation
from toolway.admin.pages import Page, PageQuery, listing
from toolway.admin.state import described
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


class Collection:
    """The operations on one entity; after each change the snapshot is made anew before the answer."""

    def __init__(self, entity: Entity) -> None:
        self._entity, self._kind = entity, entity.kind
        self._read, self._write = f"{entity.kind}:read", f"{entity.kind}:write"
        self._part: str = getattr(entity, "part", entity.kind)

    def operations(self) -> list[Operation]:
        """What the API offers for it."""
        kind, schema, read, write = self._kind, self._entity.schema, self._read, self._write
        path, one = f"/api/v1/{kind}", f"/api/v1/{kind}/{{name}}"
        page, put = Page[Member], (200, 201)
        return [
            Operation("GET", path, read, f"List {kind}.", self.list, None, PageQuery, page, filters=True),
            Operation("POST", path, write, f"Add one to {kind}.", self.create, schema, None, Member, (201,)),
            Operation("GET", one, read, f"Read one of {kind}.", self.get, None, None, Member, conditional=True),
            Operation("PUT", one, write, f"Set one of {kind}.", self.put, schema, None, Member, put, conditional=True),
            Operation("DELETE", one, write, f"Remove one of {kind}.", self.delete, success=(204,), conditional=True),
        ]

    async def list(self, incoming: Incoming, query: PageQuery) -> Page[dict[str, Any]]:
        """The objects that the principal may see."""
        async with incoming.context.store.read() as tx:
            stored = {one.name: one for one in await self._entity.list(tx)}
        stored |= incoming.context.catalog.filed(self._kind)
        return listing(incoming, self._read, stored, query, lambda one: self._shown(incoming, one))

    async def get(self, incoming: Incoming) -> Answer:
        """One object with its `ETag`."""
        return await self._answer(incoming, incoming.name)

    async def create(self, incoming: Incoming, body: Any) -> Answer:
        """Add an object that does not exist yet."""
        incoming.demand(self._write, body.name)
        async with self._change(incoming, "create", body.name) as tx:
            if await self._entity.get(tx, body.name) is not None:
                raise Conflict(f"{self._kind} has {body.name!r} already; use PUT to replace it")
            await self._entity.put(tx, body)
        return await self._changed(incoming, body.name, 201)

    async def put(self, incoming: Incoming, body: Any) -> Answer:
        """Create or replace; the same body twice changes nothing the second time."""
        if body.name != incoming.name:
            raise InvalidInput(f"the body names {body.name!r}, the path {incoming.name!r}; they must agree")
        async with incoming.context.store.read() as tx:
            old = await self._entity.get(tx, body.name)
        is_own = body.name not in incoming.context.catalog.filed(self._kind)
        if is_own and old is not None and old.value == body:
            _check_precondition(incoming, old)
            return await self._answer(incoming, body.name)
        async with self._change(incoming, "put", body.name) as tx:
            old = await self._entity.get(tx, body.name)
            _check_precondition(incoming, old)
            await self._entity.put(tx, body)
        return await self._changed(incoming, body.name, 201 if old is None else 200)

    async def delete(self, incoming: Incoming) -> Answer:
        """Remove an object."""
        async with self._change(incoming, "delete", incoming.name) as tx:
            _check_precondition(incoming, await self._entity.get(tx, incoming.name))
            await self._entity.delete(tx, incoming.name)
        await incoming.context.catalog.reload()
        return Answer(None, 204)

    def _change(self, incoming: Incoming, action: str, name: str) -> Any:
        if name in incoming.context.catalog.filed(self._kind):
            raise Conflict(f"{name!r} is declared in the configuration; change it there")
        subject = f"{self._kind}/{name}"
        return incoming.context.store.change(self._part, incoming.principal.id, f"{self._kind}.{action}", subject)

    async def _changed(self, incoming: Incoming, name: str, status: int) -> Answer:
        await incoming.context.catalog.reload()
        return await self._answer(incoming, name, status)

    async def _answer(self, incoming: Incoming, name: str, status: int = 200) -> Answer:
        stored = incoming.context.catalog.filed(self._kind).get(name)
        if stored is None:
            async with incoming.context.store.read() as tx:
                stored = await self._entity.get(tx, name)
        if stored is None:
            raise NotFound(f"{self._kind} has no {name!r}")
        location = {"location": f"/api/v1/{self._kind}/{name}"} if status == 201 else {}
        return Answer(self._shown(incoming, stored), status, {"etag": _etag(stored), **location})

    def _shown(self, incoming: Incoming, stored: Stored) -> dict[str, Any]:
        more = described(incoming.context.catalog.snapshot, self._kind, stored.name)
        meta = {"revision": stored.revision, "managed_by": stored.managed_by, **more}
        return {**hidden(stored.value.model_dump(mode="json")), "meta": meta}


def _etag(stored: Stored) -> str:
    return f'"{stored.revision}"'


def _check_precondition(incoming: Incoming, stored: Stored | None) -> None:
    """`If-Match` and `If-None-Match: *` (RFC 9110 sections 13.1.1 and 13.1.2); raises PreconditionFailed."""
    wanted = incoming.headers.get("if-match")
    if wanted is not None and not (stored and {_etag(stored), "*"} & {tag.strip() for tag in wanted.split(",")}):
        raise PreconditionFailed("the object is not the one that If-Match names; read it again and repeat the change")
    if incoming.headers.get("if-none-match", "").strip() == "*" and stored is not None:
        raise PreconditionFailed("the object exists already, and If-None-Match: * asks that it does not")
