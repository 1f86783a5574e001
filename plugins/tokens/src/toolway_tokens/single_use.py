"""One-time tokens: one call or one administrative request, claimed in the database before anything is sent.

A call of which it is certain that nothing was sent gives the token back. A call that ends with a question to the client
(`input_required`) has not ended: the same call may come again with the answer, once for each question. Repetitions of a
call that the gateway itself holds open do not come here again.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable
from typing import ClassVar

from toolway.hookspecs.routing import CALL_METHODS, Call, CallNext, Reply
from toolway.plugin import StoreUnavailable, Unauthenticated, UpstreamError
from toolway_tokens.catalog import TokenCatalog
from toolway_tokens.token import PREFIX

log = logging.getLogger(__name__)

ABOUT_THE_TURN = frozenset({"requestState", "inputResponses"})
USED_UP = "the one-time token is used up; have a new one made"


class SingleUse:
    """Stands in front of every call; of those without a one-time token it only looks at the principal."""

    name = "tokens"
    methods: ClassVar[frozenset[str]] = CALL_METHODS

    def __init__(self, catalog: TokenCatalog) -> None:
        self._catalog = catalog

    async def __call__(self, call: Call, call_next: CallNext) -> Reply:
        """Claim the token, pass the call on, and say what has become of the claim."""
        principal = call.principal
        if not principal.single_use or not principal.credential.startswith(PREFIX):
            return await call_next(call)
        jti, same = principal.credential.removeprefix(PREFIX), digest_of(call)
        continued = await self._claimed(jti, same)
        try:
            reply = await call_next(call)
        except UpstreamError as error:
            await self._settle(jti, self._catalog.end(jti) if error.sent else self._catalog.give_back(jti, continued))
            raise
        except BaseException:  # a cancellation, too: something may have been sent
            await self._settle(jti, self._catalog.end(jti))
            raise
        waits = reply.kind == "input_required"
        await self._settle(jti, self._catalog.wait(jti, same) if waits else self._catalog.end(jti))
        return reply

    async def _claimed(self, jti: str, same: str) -> str | None:
        """The call that is continued, None for a new one; raises Unauthenticated when there may be neither."""
        if await self._catalog.claim(jti):
            return None
        if await self._catalog.claim_again(jti, same):
            return same
        raise Unauthenticated(USED_UP)

    async def _settle(self, jti: str, change: Awaitable[None]) -> None:
        """The token is claimed whatever happens here, so that a database that is away harms nobody but its holder."""
        try:
            await change
        except StoreUnavailable:
            log.warning("the end of the use of token %s could not be stored; it stays used", jti)


def claim_request(catalog: TokenCatalog, jti: str) -> Callable[[], Awaitable[None]]:
    """What uses the token up for an administrative request, or raises Unauthenticated."""

    async def claim() -> None:
        if not await catalog.claim(jti):
            raise Unauthenticated(USED_UP)
        await catalog.end(jti)

    return claim


def digest_of(call: Call) -> str:
    """Equal for a call and its repetitions with answers (SHA-256, hexadecimal)."""
    hashed = hashlib.sha256(f"{call.server}\0{call.method}".encode())
    for key in sorted(call.params.keys() - ABOUT_THE_TURN):
        hashed.update(b"\0" + key.encode() + b"\0" + bytes(call.params[key]))
    return hashed.hexdigest()
