"""The gateway's token: renewed at two thirds of its life, replaced by a new login when that is not possible."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from toolway.plugin import Clock, SecretUnavailable
from toolway_vault.connection import Connection
from toolway_vault.failures import Denied, Refused, VaultDown, VaultFailure
from toolway_vault.logins import LoggingIn, Resolve, Token, token_of

log = logging.getLogger(__name__)

RENEW_AT = 2 / 3
"""The part of its life after which a token or lease is renewed."""
WORTH = 0.5
"""A renewal that brings less than this part of the first duration is the last one: the maximum is near."""
RETRY_SECONDS = 1.0
MOST_RETRY_SECONDS = 15.0
AGAIN_SECONDS = 1.0
"""A login that was refused is not tried again so soon."""


class Tokens:
    """Holds the one token that all requests use; `replaced` is called when another one has taken its place.

    Before the first request `resolve` is set to what resolves the references of the login.
    """

    def __init__(self, connection: Connection, logging_in: LoggingIn, clock: Clock) -> None:
        self._connection = connection
        self._logging_in = logging_in
        self._clock = clock
        self._token: Token | None = None
        self._last = ""
        self._ends = 0.0
        self._lock = asyncio.Lock()
        self._tending: asyncio.Task[None] | None = None
        self._refused: tuple[float, VaultFailure] | None = None
        self.resolve: Resolve
        self.replaced: Callable[[], None] = _nothing

    async def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """A request with the token; a token that is refused is replaced once.

        Raises:
            VaultDown, Refused: see `Connection.request`; also those of the login.
        """
        token = await self.current()
        try:
            return await self._connection.request(method, path, token.value, body)
        except Denied:
            if await self._is_good(token):
                raise
        return await self._connection.request(method, path, (await self.current()).value, body)

    async def current(self) -> Token:
        """The token, after a login if there is none that lives."""
        async with self._lock:
            if self._token is None or self._is_over():
                self._token = None
                self._hold(await self._login())
            assert self._token is not None  # noqa: S101 - for the type checker
            return self._token

    async def close(self) -> None:
        """Stop renewing; revoke the token if the gateway made it, and with it all leases."""
        if self._tending is not None:
            self._tending.cancel()
        token, self._token = self._token, None
        if token is not None and token.owned:
            try:
                await self._connection.request("post", "auth/token/revoke-self", token.value)
            except VaultFailure as error:
                log.info("vault: the token could not be revoked: %s", error)

    def _is_over(self) -> bool:
        token = self._token
        return token is not None and token.seconds > 0 and self._ends <= self._clock.monotonic()

    async def _is_good(self, token: Token) -> bool:
        """Whether Vault still knows the token; if not, it is forgotten."""
        try:
            await self._connection.request("get", "auth/token/lookup-self", token.value)
        except Denied:
            if self._token is token:
                self._token = None
            return False
        return True

    async def _login(self) -> Token:
        if self._refused is not None and self._clock.monotonic() < self._refused[0]:
            raise self._refused[1]
        try:
            return await self._logging_in.token(self.resolve)
        except Refused as error:
            failure = Refused(f"the login is refused: {error}; see plugins.vault.login")
        except SecretUnavailable as error:
            raise VaultDown(f"the login cannot be made: {error.message}") from None
        self._refused = self._clock.monotonic() + AGAIN_SECONDS, failure
        raise failure

    def _hold(self, token: Token) -> None:
        self._token, self._ends = token, self._clock.monotonic() + token.seconds
        if self._last not in ("", token.value):
            self.replaced()
        self._last = token.value
        if self._tending is not None and self._tending is not asyncio.current_task():
            self._tending.cancel()
        self._tending = asyncio.create_task(self._tend(token)) if token.seconds > 0 else None

    async def _tend(self, first: Token) -> None:
        """Renew until that fails or brings little, then log in anew."""
        token = first
        while token.renewable and (token is first or token.seconds > first.seconds * WORTH):
            await asyncio.sleep(token.seconds * RENEW_AT)
            try:
                token = await self._renewed(token)
            except VaultFailure as error:
                log.info("vault: the token is not renewed (%s); a new one is taken", error)
                break
        else:
            await asyncio.sleep(token.seconds * RENEW_AT)
        await self._replaced()

    async def _renewed(self, token: Token) -> Token:
        """The token with more time, which is little when its maximum is near."""
        found = token_of(await self._connection.request("post", "auth/token/renew-self", token.value, {}))
        self._token = Token(token.value, found.seconds, found.renewable, token.owned)
        self._ends = self._clock.monotonic() + found.seconds
        return self._token

    async def _replaced(self) -> None:
        """A token by a new login; until there is one the old one stays."""
        wait = RETRY_SECONDS
        while True:
            try:
                async with self._lock:
                    self._hold(await self._login())
                return
            except VaultFailure as error:
                log.warning("vault: no new token: %s", error)
                await asyncio.sleep(wait)
                wait = min(wait * 2, MOST_RETRY_SECONDS)


def _nothing() -> None:
    """Nobody has asked to hear of another token."""
