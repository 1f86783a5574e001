"""Whether the person in front of the browser is the principal that the link was given to (MCP, URL elicitation)."""

from __future__ import annotations

from typing import Literal

from starlette.requests import Request

from toolway.hookspecs.auth import AuthContext, Principal, Visit
from toolway.plugin import Forbidden, Kernel, Unauthenticated

SESSION = "__Host-toolway-session"

Kind = Literal["account", "link"]


class Proof:
    """With `account`, a browser must be signed in as the principal, or its person must know a credential of it."""

    def __init__(self, kernel: Kernel, kind: Kind) -> None:
        self._kernel = kernel
        self._kind = kind

    async def is_needed(self, request: Request, principal: str) -> bool:
        """Whether the page has to ask for a credential.

        Raises:
            Forbidden: the browser is signed in as somebody else.
        """
        who = await self._signed_in(request)
        if who is not None and who.id != principal:
            raise Forbidden(f"this link is for {principal}, and you are signed in as {who.id}; it is not meant for you")
        return who is None and self._kind == "account"

    async def demand(self, request: Request, principal: str, credential: str) -> None:
        """Refuse whoever has not shown who it is.

        Raises:
            Unauthenticated: no credential, or one that nobody accepts.
            Forbidden: it is somebody else's.
        """
        if not await self.is_needed(request, principal):
            return
        if not credential.strip():
            raise Unauthenticated(f"a token or key of {principal} is needed here; open the link again and give it")
        value = f"Bearer {credential.strip()}".encode()
        found = await self._kernel.authenticate(Visit(value, None, _context(request)))
        if found.principal.id != principal or found.principal.single_use:
            raise Forbidden(f"the credential is not a lasting one of {principal}; this link is meant for {principal}")

    async def _signed_in(self, request: Request) -> Principal | None:
        cookie = request.cookies.get(SESSION)
        if cookie is None:
            return None
        try:
            return (await self._kernel.authenticate(Visit(None, None, _context(request), cookie))).principal
        except Unauthenticated:
            return None


def _context(request: Request) -> AuthContext:
    address = request.client.host if request.client else ""
    return AuthContext(None, address, request.scope["path"], request.headers.get("user-agent", ""))
