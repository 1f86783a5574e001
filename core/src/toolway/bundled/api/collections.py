"""Generic collections: list, read, create, replace and delete for everything that is an `Entity`."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import Any, TypedDict

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from toolway.bundled.api.catalog import Seen, described, seen_by
from toolway.bundled.api.hiding import hidden
from toolway.hookspecs.accounts import ADMIN
from toolway.hookspecs.api import Incoming, Operation, Page, PageQuery, document, listing
from toolway.hookspecs.auth import Resource
from toolway.hookspecs.definitions import Visibility
from toolway.hookspecs.system import Entity, Guarded, Stored
from toolway.plugin import Conflict, InvalidInput, Kernel, NotFound, PreconditionFailed, ToolwayError

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


class _Seen(TypedDict):
    filters: bool
    conditional: bool


class Collection:
    """The operations on one entity; after each change the snapshot is made anew before the answer."""

    def __init__(self, entity: Entity, kernel: Kernel) -> None:
        self._entity, self._kind, self._kernel = entity, entity.kind, kernel
        self._reading, self._writing = f"{self._kind}:read", f"{self._kind}:write"

    def operations(self) -> list[Operation]:
        """What the API offers for it."""
        path, read, write = f"/api/v1/{self._kind}", self._reading, self._writing
        one, schema = f"{path}/{{name}}", self._entity.schema
        put, seen = (200, 201), _Seen(filters=True, conditional=True)
        return [
            Operation("GET", path, read, self.list, None, PageQuery, Page[Member], filters=True),
            Operation("POST", path, write, self.create, schema, answer=Member, success=(201,), filters=True),
            Operation("GET", one, read, self.get, answer=Member, **seen),
            Operation("PUT", one, write, self.put, schema, answer=Member, success=put, **seen),
            Operation("DELETE", one, write, self.delete, success=(204,), **seen),
        ]

    async def list(self, incoming: Incoming) -> Page[dict[str, Any]]:
        """List the objects."""
        async with self._kernel.database.read() as tx:
            stored = {one.name: one for one in await self._entity.list(tx)}
        who, limits = incoming.principal.on_behalf_of or incoming.principal, incoming.principal.limits
        seen = bool if ADMIN in who.scopes and not limits else None  # asking about every item takes too long
        return listing(incoming, self._reading, stored, partial(self._shown, seen=seen), about)

    async def get(self, incoming: Incoming) -> Response:
        """Read one object."""
        async with self._kernel.database.read() as tx:
            stored = await self._entity.get(tx, incoming.name)
        incoming.demand(self._reading, about(stored) if stored else incoming.name)
        return self._answer(incoming, incoming.name, stored)

    async def create(self, incoming: Incoming) -> Response:
        """Add an object that does not exist yet."""
        body = incoming.body
        self._demand_new(incoming, body, is_new=True)
        async with self._change(incoming, "create", body.name) as tx:
            if await self._entity.get(tx, body.name) is not None:
                raise Conflict(f"{self._kind} has {body.name!r} already; use PUT to replace it")
            await self._entity.put(tx, body)
            tx.after = _told(await self._entity.get(tx, body.name))
        return await self._changed(incoming, body.name, 201)

    async def put(self, incoming: Incoming) -> Response:
        """Create or replace an object; the same body twice changes nothing the second time."""
        body = incoming.body
        if body.name != incoming.name:
            raise InvalidInput(f"the body names {body.name!r}, the path {incoming.name!r}; they must agree")
        async with self._kernel.database.read() as tx:
            old = await self._entity.get(tx, body.name)
        self._demand_put(incoming, old, body)
        if old is not None and (old.value == body or _told(old) == body.model_dump(mode="json")):
            _check_precondition(incoming, old)
            return self._answer(incoming, body.name, old)
        async with self._change(incoming, "put", body.name) as tx:
            old = await self._entity.get(tx, body.name)
            self._demand_put(incoming, old, body)
            _check_precondition(incoming, old)
            tx.before = _told(old)
            await self._entity.put(tx, body)
            tx.after = _told(await self._entity.get(tx, body.name))
        return await self._changed(incoming, body.name, 201 if old is None else 200)

    async def delete(self, incoming: Incoming) -> Response:
        """Remove an object."""
        async with self._change(incoming, "delete", incoming.name) as tx:
            old = await self._entity.get(tx, incoming.name)
            incoming.demand(self._writing, about(old) if old else incoming.name)
            self._guard(incoming, old, None)
            if old is not None:  # else it is answered as what is hidden
                _check_precondition(incoming, old)
            tx.before = _told(old)
            await self._entity.delete(tx, incoming.name)
        await self._kernel.catalog.reload()
        return Response(status_code=204)

    def _demand_new(self, incoming: Incoming, body: Any, *, is_new: bool = False) -> None:
        """Adding needs the permission for that name, whoever is to be the owner; that one too must be in reach."""
        incoming.demand(self._writing, Resource(body.name), is_new=is_new)
        if owner := getattr(body, "owner", ""):
            incoming.demand(self._writing, Resource(body.name, owner=owner, visibility="private"), is_new=is_new)
        self._guard(incoming, None, body)

    def _demand_put(self, incoming: Incoming, old: Stored | None, body: Any) -> None:
        if old is None:
            return self._demand_new(incoming, body)
        incoming.demand(self._writing, about(old))
        if (owner := getattr(body, "owner", "")) != getattr(old.value, "owner", ""):
            incoming.demand(self._writing, Resource(body.name, owner=owner, visibility="private"))
        self._guard(incoming, old, body)

    def _guard(self, incoming: Incoming, old: Stored | None, body: Any) -> None:
        if isinstance(self._entity, Guarded):
            self._entity.guard(incoming, old.value if old else None, body)

    def _change(self, incoming: Incoming, action: str, name: str) -> Any:
        database, actor = self._kernel.database, incoming.principal.id
        return database.change(self._entity.part, actor, f"{self._kind}.{action}", f"{self._kind}/{name}")

    async def _changed(self, incoming: Incoming, name: str, status: int) -> Response:
        catalog = self._kernel.catalog
        await catalog.reload()
        if self._kind == "upstreams":
            with contextlib.suppress(ToolwayError, TimeoutError):  # it is registered anyway; `meta` says how it is
                async with asyncio.timeout(FIRST_SECONDS):
                    await catalog.refresh(name)
        async with self._kernel.database.read() as tx:
            return self._answer(incoming, name, await self._entity.get(tx, name), status)

    def _answer(self, incoming: Incoming, name: str, stored: Stored | None, status: int = 200) -> Response:
        if stored is None:
            raise NotFound(f"{self._kind} has no {name!r}")
        location = {"location": f"/api/v1/{self._kind}/{name}"} if status == 201 else {}
        return document(self._shown(stored, seen_by(incoming)), status, {"etag": _etag(stored), **location})

    def _shown(self, stored: Stored, seen: Seen | None) -> dict[str, Any]:
        more = described(self._kernel, self._kind, stored.name, seen)
        meta = {"revision": stored.revision, "managed_by": stored.managed_by, **more}
        return {**_told(stored), "meta": meta}


def _told(stored: Stored | None) -> Any:
    """An object without its secrets; None for nothing."""
    return hidden(stored.value.model_dump(mode="json")) if stored else None


def about(stored: Stored) -> Resource:
    """What decisions on an object are about."""
    value: Any = stored.value
    visibility: Visibility = getattr(value, "visibility", "public")
    return Resource(stored.name, owner=getattr(value, "owner", ""), visibility=visibility)


def _etag(stored: Stored) -> str:
    return f'"{stored.revision}"'


def _check_precondition(incoming: Incoming, stored: Stored | None) -> None:
    """`If-Match` and `If-None-Match: *` (RFC 9110 sections 13.1.1 and 13.1.2); raises PreconditionFailed."""
    wanted = incoming.headers.get("if-match")
    if wanted is not None and not (stored and {_etag(stored), "*"} & {tag.strip() for tag in wanted.split(",")}):
        raise PreconditionFailed("the object is not the one that If-Match names; read it again and repeat the change")
    if incoming.headers.get("if-none-match", "").strip() == "*" and stored is not None:
        raise PreconditionFailed("the object exists already, and If-None-Match: * asks that it does not")
