"""Whether the person in front of the browser is the principal that the link was given to (MCP, URL elicitation)."""

from __future__ import annotations

import contextlib
from typing import Literal

from starlette.requests import Request

from toolway.hookspecs.auth import AuthContext, Principal, Visit
from toolway.plugin import Forbidden, Kernel, Unauthenticated
from toolway_user_oauth.tickets import Ticket

SESSION = "__Host-toolway-session"

Kind = Literal["account", "link"]


class Proof:
    """With `account`, a browser must be signed in as the principal, or its person must know a credential of it."""

    def __init__(self, kernel: Kernel, kind: Kind) -> None:
        self._kernel = kernel
        self._kind = kind

    async def is_needed(self, request: Request, ticket: Ticket) -> bool:
        """Whether the page has to ask for a credential.

        Raises:
            Forbidden: the browser is signed in as somebody else.
        """
        who, principal = await self._signed_in(request), ticket.principal
        if who is not None and who.id != principal:
            raise Forbidden(f"this link is for {principal}, and you are signed in as {who.id}; it is not meant for you")
        return who is None and self._kind == "account"

    async def demand(self, request: Request, ticket: Ticket, credential: str) -> None:
        """Refuse whoever has not shown who it is.

        Raises:
            Unauthenticated: no credential, or one that nobody accepts.
            Forbidden: it is somebody else's.
        """
        if not await self.is_needed(request, ticket):
            return
        principal, value = ticket.principal, credential.strip()
        if not value:
            raise Unauthenticated(f"a token or key of {principal} is needed here; open the link again and give it")
        found = await self._holder(request, f"Bearer {value}".encode(), ticket.server or None)
        if found.id != principal or found.single_use:
            raise Forbidden(f"the credential is not a lasting one of {principal}; this link is meant for {principal}")

    async def _holder(self, request: Request, value: bytes, server: str | None) -> Principal:
        """Whose the credential is, where it is to be used or else in the API."""
        if server is not None:
            with contextlib.suppress(Unauthenticated):
                return (await self._kernel.authenticate(Visit(value, None, _context(request, server)))).principal
        return (await self._kernel.authenticate(Visit(value, None, _context(request)))).principal

    async def _signed_in(self, request: Request) -> Principal | None:
        cookie = request.cookies.get(SESSION)
        if cookie is None:
            return None
        try:
            return (await self._kernel.authenticate(Visit(None, None, _context(request), cookie))).principal
        except Unauthenticated:
            return None


def _context(request: Request, server: str | None = None) -> AuthContext:
    address = request.client.host if request.client else ""
    return AuthContext(server, address, request.scope["path"], request.headers.get("user-agent", ""))
