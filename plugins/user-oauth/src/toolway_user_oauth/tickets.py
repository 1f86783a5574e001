"""What goes through a browser and comes back once: links to connect an account, and what is under way at a server."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import TypeVar

import msgspec

from toolway.plugin import Kernel
from toolway_user_oauth.discovery import Wanted
from toolway_user_oauth.errors import LinkOver

LIFETIME = 600.0
"""Seconds for everything between the link and the end of the consent (reliability, limits)."""

CONNECT, CALLBACK = "/user-oauth/connect", "/user-oauth/callback"
OVER = "this link was used or is older than ten minutes; call the tool again, or run: toolway connections connect"

T = TypeVar("T")


class Ticket(msgspec.Struct, frozen=True):
    """Who is to connect an account of which upstream; `scopes` are those that the upstream asked for besides.

    `server` is the virtual server where that came up, empty for the API: some credentials are good there only.
    """

    principal: str
    upstream: str
    scopes: tuple[str, ...]
    nonce: str
    expires_at: float
    server: str = ""


class Offer(msgspec.Struct, frozen=True):
    """What a consent page showed, so that exactly this is consented to."""

    nonce: str
    wanted: Wanted


class Flow(msgspec.Struct, frozen=True):
    """A consent that is under way; `browser` is a digest of the cookie of the browser that it began in."""

    ticket: Ticket
    wanted: Wanted
    verifier: str
    browser: str


class Tickets:
    """Sealed, bound to their purpose, good for ten minutes and once on all nodes."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def issue(self, principal: str, upstream: str, scopes: tuple[str, ...] = (), server: str = "") -> tuple[str, float]:
        """The link for a principal, and when it is over (seconds since 1970)."""
        expires_at = self._kernel.clock.now() + LIFETIME
        ticket = Ticket(principal, upstream, scopes, secrets.token_hex(16), expires_at, server)
        sealed = self._kernel.seal.seal("user-oauth ticket", msgspec.json.encode(ticket))
        return f"{self._kernel.public_url}{CONNECT}/{sealed}", expires_at

    async def open(self, text: str) -> Ticket:
        """The ticket of a link; raises LinkOver."""
        ticket = self._opened("user-oauth ticket", text, Ticket)
        if self._kernel.clock.now() >= ticket.expires_at or await self._kernel.keyvalue.get(_used(ticket)) is not None:
            raise LinkOver(OVER)
        return ticket

    async def use(self, ticket: Ticket) -> None:
        """Use it up; raises LinkOver for all but the first."""
        if not await self._kernel.keyvalue.compare_and_set(_used(ticket), None, b"1", LIFETIME):
            raise LinkOver(OVER)

    def offer(self, ticket: Ticket, wanted: Wanted) -> str:
        """What the page shows, for its form."""
        return self._kernel.seal.seal("user-oauth offer", msgspec.json.encode(Offer(ticket.nonce, wanted)))

    def offered(self, ticket: Ticket, text: str) -> Wanted:
        """What the page of this ticket showed; raises LinkOver."""
        offer = self._opened("user-oauth offer", text, Offer)
        if offer.nonce != ticket.nonce:
            raise LinkOver(OVER)
        return offer.wanted

    async def begin(self, ticket: Ticket, wanted: Wanted) -> tuple[str, str, Flow]:
        """The state and the browser's cookie of a consent that begins now, and what is kept of it (RFC 7636)."""
        state, cookie = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        flow = Flow(ticket, wanted, secrets.token_urlsafe(48), _digest(cookie))
        sealed = self._kernel.seal.seal(f"user-oauth flow {state}", msgspec.json.encode(flow))
        await self._kernel.keyvalue.set(_flow(state), sealed.encode(), LIFETIME)
        return state, cookie, flow

    async def end(self, state: str, cookie: str) -> Flow:
        """What is kept under a state, once and for the browser that it began in; raises LinkOver."""
        sealed = await self._kernel.keyvalue.get(_flow(state))
        if sealed is None:
            raise LinkOver(OVER)
        flow = self._opened(f"user-oauth flow {state}", sealed.decode(), Flow)
        if not hmac.compare_digest(flow.browser, _digest(cookie)):
            raise LinkOver("the answer came to another browser than the one that consented; begin anew in one browser")
        if not await self._kernel.keyvalue.delete(_flow(state)):
            raise LinkOver(OVER)
        return flow

    def _opened(self, purpose: str, text: str, expected: type[T]) -> T:
        payload = self._kernel.seal.open(purpose, text)
        if payload is None:
            raise LinkOver(OVER)
        return msgspec.json.decode(payload, type=expected)


def challenge(verifier: str) -> str:
    """The `code_challenge` of method S256 (RFC 7636 section 4.2)."""
    import base64

    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def cookie_name(state: str) -> str:
    """Each consent has a cookie of its own, so that two tabs do not disturb each other."""
    return f"__Host-user-oauth-{_digest(state)[:16]}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _used(ticket: Ticket) -> str:
    return f"user-oauth:ticket:{ticket.nonce}"


def _flow(state: str) -> str:
    return f"user-oauth:flow:{_digest(state)}"
