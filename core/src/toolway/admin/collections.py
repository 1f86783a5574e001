"""Generic collections: list, read, create, replace and delete for everything that is an `Entity`."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from toolway.admin.operations import Incoming, Operation, Page, PageQuery, listing
from toolway.admin.problems import document
from toolway.admin.state import described
from toolway.catalog.entities import hidden
from toolway.errors import Conflict, InvalidInput, NotFound, PreconditionFailed, ToolwayError
from toolway.hookspecs.system import Entity, Stored

FIRST_SECONDS = 5.0
"""How long the answer to a change of an upstream waits for its first discovery."""


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
        self._part: str = getattr(entity, "part", entity.kind)

    def operations(self) -> list[Operation]:
        """What the API offers for it."""
        path, read, write = f"/api/v1/{self._kind}", f"{self._kind}:read", f"{self._kind}:write"
        one, schema = f"{path}/{{name}}", self._entity.schema
        put = (200, 201)
        return [
            Operation("GET", path, read, self.list, query=PageQuery, answer=Page[Member], filters=True),
            Operation("POST", path, write, self.create, body=schema, answer=Member, success=(201,)),
            Operation("GET", one, read, self.get, answer=Member, conditional=True),
            Operation("PUT", one, write, self.put, body=schema, answer=Member, success=put, conditional=True),
            Operation("DELETE", one, write, self.delete, success=(204,), conditional=True),
        ]

    async def list(self, incoming: Incoming) -> Page[dict[str, Any]]:
        """List the objects."""
        async with incoming.context.store.read() as tx:
            stored = {one.name: one for one in await self._entity.list(tx)}
        return listing(incoming, f"{self._kind}:read", stored, lambda one: self._shown(incoming, one))

    async def get(self, incoming: Incoming) -> Response:
        """Read one object."""
        return await self._answer(incoming, incoming.name)

    async def create(self, incoming: Incoming) -> Response:
        """Add an object that does not exist yet."""
        body = incoming.body
        incoming.demand(f"{self._kind}:write", body.name)
        async with self._change(incoming, "create", body.name) as tx:
            if await self._entity.get(tx, body.name) is not None:
                raise Conflict(f"{self._kind} has {body.name!r} already; use PUT to replace it")
            await self._entity.put(tx, body)
        return await self._changed(incoming, body.name, 201)

    async def put(self, incoming: Incoming) -> Response:
        """Create or replace an object; the same body twice changes nothing the second time."""
        body = incoming.body
        if body.name != incoming.name:
            raise InvalidInput(f"the body names {body.name!r}, the path {incoming.name!r}; they must agree")
        async with incoming.context.store.read() as tx:
            old = await self._entity.get(tx, body.name)
        if old is not None and old.value == body:
            _check_precondition(incoming, old)
            return await self._answer(incoming, body.name)
        async with self._change(incoming, "put", body.name) as tx:
            old = await self._entity.get(tx, body.name)
            _check_precondition(incoming, old)
            await self._entity.put(tx, body)
        return await self._changed(incoming, body.name, 201 if old is None else 200)

    async def delete(self, incoming: Incoming) -> Response:
        """Remove an object."""
        async with self._change(incoming, "delete", incoming.name) as tx:
            _check_precondition(incoming, await self._entity.get(tx, incoming.name))
            await self._entity.delete(tx, incoming.name)
        await incoming.context.catalog.reload()
        return Response(status_code=204)

    def _change(self, incoming: Incoming, action: str, name: str) -> Any:
        subject = f"{self._kind}/{name}"
        return incoming.context.store.change(self._part, incoming.principal.id, f"{self._kind}.{action}", subject)

    async def _changed(self, incoming: Incoming, name: str, status: int) -> Response:
        catalog = incoming.context.catalog
        await catalog.reload()
        if self._kind == "upstreams":
            with contextlib.suppress(ToolwayError, TimeoutError):  # it is registered anyway; `meta` says how it is
                async with asyncio.timeout(FIRST_SECONDS):
                    await catalog.refresh(name)
        return await self._answer(incoming, name, status)

    async def _answer(self, incoming: Incoming, name: str, status: int = 200) -> Response:
        async with incoming.context.store.read() as tx:
            stored = await self._entity.get(tx, name)
        if stored is None:
            raise NotFound(f"{self._kind} has no {name!r}")
        location = {"location": f"/api/v1/{self._kind}/{name}"} if status == 201 else {}
        return document(self._shown(incoming, stored), status, {"etag": _etag(stored), **location})

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
