"""The tokens in use on this node: read once, refreshed before they end, by one of all who need them."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict
from typing import cast

import msgspec

from toolway.hookspecs.routing import Upstream
from toolway.plugin import Kernel, StoreUnavailable, ToolwayError, UpstreamError
from toolway_user_oauth.connections import PART, Connection, Connections
from toolway_user_oauth.errors import GrantRefused
from toolway_user_oauth.grants import Grants, Tokens
from toolway_user_oauth.settings import UserOAuth

log = logging.getLogger(__name__)

REMEMBERED = 10_000
EARLY_SECONDS = 60.0
"""So long before their end tokens are refreshed; those that live shorter than two minutes, after half of their life."""
OFFLINE_SECONDS = 3600.0
"""How long tokens that were read go on while the database is away."""
LEASE_SECONDS = 30.0
WRITING_SECONDS = 15.0
"""How long writing down new tokens is tried: as long as nobody else has the lease, and refreshes with used-up ones."""
PATIENCE, POLL_SECONDS = 30.0, 0.05
"""How long to wait for another node that refreshes."""

Key = tuple[str, str]


class Held(msgspec.Struct):
    """What was read: for this upstream, at that state of the snapshot, and when (monotonic seconds)."""

    upstream: Upstream
    connection: Connection | None
    epoch: object
    read_at: float


class Wallet:
    """The tokens of everybody, on this node."""

    def __init__(self, kernel: Kernel, connections: Connections, grants: Grants) -> None:
        self._kernel = kernel
        self._connections = connections
        self._grants = grants
        self._held: OrderedDict[Key, Held] = OrderedDict()
        self._renewing: dict[Key, asyncio.Task[Connection | None]] = {}
        self._unwritten: dict[Key, tuple[Connection, Tokens]] = {}

    async def connection(self, principal: str, upstream: Upstream) -> Connection | None:
        """The principal's connection with usable tokens, refreshed where needed; None: consent is needed.

        Raises:
            StoreUnavailable: it was never read, and the database is away.
            UpstreamError: the tokens have ended, and the server that refreshes them does not answer.
        """
        found = await self._current(principal, upstream)
        if found is None or not self._ends_soon(found.tokens):
            return found
        return await self._renewed(found, upstream, refused=False)

    async def known(self, principal: str, upstream: Upstream) -> Connection | None:
        """The principal's connection as it is, whether or not its tokens have ended; raises StoreUnavailable."""
        return await self._current(principal, upstream)

    async def renew(self, principal: str, upstream: Upstream) -> Connection | None:
        """After the upstream refused the tokens: others, where there are any; raises as `connection`."""
        found = await self._current(principal, upstream)
        return None if found is None else await self._renewed(found, upstream, refused=True)

    async def close(self) -> None:
        """Wait for refreshes that are under way: what they got must not be lost."""
        await asyncio.gather(*self._renewing.values(), return_exceptions=True)

    async def _current(self, principal: str, upstream: Upstream) -> Connection | None:
        key, epoch = (principal, upstream.name), self._kernel.parts.get(PART)
        held = self._held.get(key)
        is_current = held is not None and held.epoch is epoch and held.upstream is upstream
        if held is None or not is_current or self._kernel.clock.monotonic() - held.read_at > OFFLINE_SECONDS:
            held = await self._read(key, upstream, epoch, held)
        return held.connection

    async def _read(self, key: Key, upstream: Upstream, epoch: object, old: Held | None) -> Held:
        now = self._kernel.clock.monotonic()
        try:
            found = await self._connections.find(key[0], upstream)
        except StoreUnavailable:
            if old is None or old.upstream is not upstream or now - old.read_at > OFFLINE_SECONDS:
                raise
            return old
        if found is not None:
            self._kernel.secrets.know(found.tokens.access_token, found.tokens.refresh_token)
        held = self._held[key] = Held(upstream, found, epoch, now)
        if len(self._held) > REMEMBERED:
            self._held.popitem(last=False)
        return held

    def _ends_soon(self, tokens: Tokens) -> bool:
        early = min(EARLY_SECONDS, (tokens.expires_at - tokens.obtained_at) / 2)
        return tokens.expires_at > 0 and self._kernel.clock.now() >= tokens.expires_at - early

    def _has_ended(self, tokens: Tokens) -> bool:
        return tokens.expires_at > 0 and self._kernel.clock.now() >= tokens.expires_at

    async def _renewed(self, old: Connection, upstream: Upstream, *, refused: bool) -> Connection | None:
        """Everybody who waits for the same tokens waits for one task, which nobody's leaving ends."""
        key = old.principal, old.upstream
        task = self._renewing.get(key)
        if task is None:
            task = self._renewing[key] = asyncio.create_task(self._renew_alone(old, upstream, refused=refused))
            task.add_done_callback(lambda done: self._ended(key, done))
        return await asyncio.shield(task)

    def _ended(self, key: Key, task: asyncio.Task[Connection | None]) -> None:
        del self._renewing[key]
        if not task.cancelled():
            task.exception()  # everyone who waited may be gone; then nobody else looks at it

    async def _renew_alone(self, old: Connection, upstream: Upstream, *, refused: bool) -> Connection | None:
        """One node refreshes: an old refresh token that is used twice can end the grant (RFC 9700 section 4.14.2)."""
        key = old.principal, old.upstream
        name = f"user-oauth:refresh:{hashlib.sha256(msgspec.json.encode(key)).hexdigest()}"
        until = self._kernel.clock.monotonic() + PATIENCE
        while True:
            async with self._kernel.keyvalue.lock(name, LEASE_SECONDS) as fence:
                found = (await self._read(key, upstream, self._kernel.parts.get(PART), None)).connection
                if found is None or found.revision != old.revision:
                    return found
                if fence is not None:
                    return await self._refresh(found, upstream, refused=refused)
            if self._kernel.clock.monotonic() > until:
                raise UpstreamError("another node has been refreshing the tokens for too long; try again", sent=False)
            await asyncio.sleep(POLL_SECONDS)

    async def _refresh(self, old: Connection, upstream: Upstream, *, refused: bool) -> Connection | None:
        is_over = self._has_ended(old.tokens)
        if not old.tokens.refresh_token:
            return None if is_over or refused else old
        auth, private = cast(UserOAuth, upstream.auth), upstream.settings.allow_private
        try:
            tokens = self._left_over(old) or await self._grants.refresh(auth, old.tokens, allow_private=private)
        except GrantRefused as error:
            if error.reason == "invalid_grant":
                log.info("%s of %s was not refreshed any more: consent is needed anew", upstream.name, old.principal)
                await self._connections.drop(old)
                self._held.pop((old.principal, old.upstream), None)
                return None
            if is_over or refused:
                raise
            return old
        except ToolwayError:
            if is_over or refused:
                raise
            return old  # good for a while; tried again with the next request
        is_written = await self._write(old, upstream, tokens)
        held = await self._read((old.principal, old.upstream), upstream, self._kernel.parts.get(PART), None)
        if not is_written and (held.connection is None or held.connection.tokens != tokens):
            await self._give_back(auth, tokens, private)
        return held.connection

    def _left_over(self, old: Connection) -> Tokens | None:
        """What the last refresh got and could not write down: the refresh token of the connection is used up."""
        known, tokens = self._unwritten.pop((old.principal, old.upstream), (None, None))
        return tokens if known == old else None

    async def _write(self, old: Connection, upstream: Upstream, tokens: Tokens) -> bool:
        """Whether this wrote them down; not when the connection was ended, or an attempt that failed did so after all.

        Raises:
            StoreUnavailable: the database is away for too long; they are written before the next refresh.
        """
        until = self._kernel.clock.monotonic() + WRITING_SECONDS
        while True:
            try:
                return await self._connections.renew(old, upstream, tokens)
            except StoreUnavailable:
                if self._kernel.clock.monotonic() > until:
                    self._unwritten[old.principal, old.upstream] = old, tokens
                    raise
            await asyncio.sleep(POLL_SECONDS)

    async def _give_back(self, auth: UserOAuth, tokens: Tokens, private: bool) -> None:
        """The connection was ended while it was refreshed: what came must not stay valid."""
        try:
            await self._grants.revoke(auth, tokens, allow_private=private)
        except ToolwayError as error:
            log.warning("tokens of an ended connection could not be revoked: %s", error.message)
