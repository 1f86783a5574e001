"""The API of keys."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.responses import Response

from toolway.hookspecs.api import Incoming, Operation, Page, document
from toolway.plugin import Forbidden, Kernel, NotFound
from toolway_server_keys.key import Key
from toolway_server_keys.key_store import KeyStore
from toolway_server_keys.making import WRITE, KeyMaker
from toolway_server_keys.schemas import KeyQuery, KeyView, MadeKey, NewKey, Rotation, view

READ = "server-keys:read"
PATH = "/api/v1/server-keys"
CHUNK = 200
"""Keys that are read at once for a page."""


class KeyOperations:
    """A key is a matter of its owner, of whoever has the permission, and of whoever may change all its servers."""

    def __init__(self, kernel: Kernel, store: KeyStore, maker: KeyMaker) -> None:
        self._kernel = kernel
        self._store = store
        self._maker = maker

    def operations(self) -> Iterable[Operation]:
        """All of them."""
        one, rotate = f"{PATH}/{{name}}", f"{PATH}/{{name}}/rotate"
        return [
            Operation("GET", PATH, READ, self.list, query=KeyQuery, answer=Page[KeyView], filters=True),
            Operation("POST", PATH, WRITE, self.create, NewKey, answer=MadeKey, success=(201,), filters=True),
            Operation("GET", one, READ, self.get, answer=KeyView, filters=True),
            Operation("DELETE", one, WRITE, self.revoke, success=(204,), filters=True),
            Operation("POST", rotate, WRITE, self.rotate, Rotation, answer=MadeKey, filters=True),
        ]

    async def list(self, incoming: Incoming) -> Page[KeyView]:
        """List the keys that one may see, without their secrets."""
        query: KeyQuery = incoming.query
        found: list[Key] = []
        last, now = query.cursor, self._kernel.clock.now()
        while len(found) <= query.limit:
            chunk = await self._store.after(last, query.server, CHUNK)
            found += [key for key in chunk if self._may(incoming, READ, key)]
            if len(chunk) < CHUNK:
                break
            last = chunk[-1].id
        shown = found[: query.limit]
        more = shown[-1].id if len(found) > query.limit else None
        return Page(items=[KeyView(**view(key, now)) for key in shown], next_cursor=more)

    async def create(self, incoming: Incoming) -> Response:
        """Make a key; its secret is in the answer and nowhere else."""
        key, text = await self._maker.make(incoming, incoming.body)
        return self._made(key, text, 201, {"location": f"{PATH}/{key.id}"})

    async def get(self, incoming: Incoming) -> KeyView:
        """Show a key, without its secret."""
        return KeyView(**view(await self._found(incoming, READ), self._kernel.clock.now()))

    async def revoke(self, incoming: Incoming) -> Response:
        """Revoke a key with all its secrets; it stays listed for a while."""
        key = await self._found(incoming, WRITE)
        await self._store.revoke(key, incoming.principal.id)
        await self._kernel.catalog.reload()  # this node forgets it before the answer
        return Response(status_code=204)

    async def rotate(self, incoming: Incoming) -> Response:
        """Replace the secret; the one before is accepted until the grace period is over."""
        key, text = await self._maker.rotate(incoming, await self._found(incoming, WRITE), incoming.body)
        return self._made(key, text, 200, {})

    def _made(self, key: Key, text: str, status: int, headers: dict[str, str]) -> Response:
        return document(MadeKey(**view(key, self._kernel.clock.now(), key=text)), status, headers)

    async def _found(self, incoming: Incoming, action: str) -> Key:
        """The key; what one may not read looks like one that does not exist."""
        key = await self._store.find(incoming.name)
        if key is None or not (self._may(incoming, READ, key) or self._may(incoming, action, key)):
            raise NotFound(f"server-keys has no {incoming.name!r}")
        if not self._may(incoming, action, key):
            raise Forbidden(f"permission {action!r} is needed here", permission=action, scope=f"{action}:{key.id}")
        return key

    def _may(self, incoming: Incoming, action: str, key: Key) -> bool:
        if incoming.may(action, key.resource):
            return True
        limits = incoming.principal.limits
        if limits is not None and not limits.permit(action, key.id, ""):
            return False
        return all(incoming.may("servers:write", server) for server in key.servers)
