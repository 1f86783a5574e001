"""What a person's browser visits: the consent page, the way to the authorization server, and the way back."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import cast
from urllib.parse import parse_qs, urlencode

from pydantic import BaseModel, Field
from starlette.responses import Response

from toolway.hookspecs.api import PUBLIC, Incoming, Operation
from toolway.hookspecs.routing import Upstream
from toolway.plugin import Forbidden, InvalidInput, Kernel, NotFound, ToolwayError
from toolway_user_oauth.challenge import scopes_in
from toolway_user_oauth.connections import Connections
from toolway_user_oauth.discovery import Discovery, Wanted
from toolway_user_oauth.errors import ServerUnusable
from toolway_user_oauth.grants import Grants
from toolway_user_oauth.pages import page, told
from toolway_user_oauth.proof import Proof
from toolway_user_oauth.settings import UserOAuth
from toolway_user_oauth.tickets import CALLBACK, CONNECT, LIFETIME, Flow, Tickets, challenge, cookie_name

log = logging.getLogger(__name__)

MAX_FORM = 64 * 1024
RESERVED = frozenset({"response_type", "client_id", "redirect_uri", "state", "code_challenge", "resource", "scope"})


class CallbackQuery(BaseModel, extra="ignore"):
    """What an authorization server sends a browser back with (RFC 6749 section 4.1.2, RFC 9207)."""

    state: str = Field("", max_length=512, description="Which consent this is the answer to.")
    code: str = Field("", max_length=4096, description="What tokens are given out for.")
    iss: str | None = Field(None, max_length=2048, description="Which server answers.")
    error: str = Field("", max_length=256, description="Why there is no code.")


class Browser:
    """Connects accounts; `connected` is called after each that was."""

    def __init__(
        self,
        kernel: Kernel,
        tickets: Tickets,
        discovery: Discovery,
        grants: Grants,
        connections: Connections,
        proof: Proof,
        connected: Callable[[str, Upstream], Awaitable[None]],
    ) -> None:
        self._kernel = kernel
        self._tickets = tickets
        self._discovery = discovery
        self._grants = grants
        self._connections = connections
        self._proof = proof
        self._connected = connected

    def operations(self) -> Iterable[Operation]:
        """Public, as browsers come without a credential: the ticket and the state say what this is about."""
        link = f"{CONNECT}/{{ticket}}"
        return [
            Operation("GET", link, PUBLIC, self.ask, answer="text/html"),
            Operation("POST", link, PUBLIC, self.leave, answer="text/html"),
            Operation("GET", CALLBACK, PUBLIC, self.come_back, query=CallbackQuery, answer="text/html"),
        ]

    async def ask(self, incoming: Incoming) -> Response:
        """Show the consent page of a link; changes nothing."""
        return await self._as_page(self._ask(incoming))

    async def leave(self, incoming: Incoming) -> Response:
        """Consent: on to the authorization server."""
        return await self._as_page(self._leave(incoming))

    async def come_back(self, incoming: Incoming) -> Response:
        """Take the answer of the authorization server."""
        return await self._as_page(self._come_back(incoming))

    async def _as_page(self, work: Awaitable[Response]) -> Response:
        """What people see of a failure: the sentence, never more, and no secret in it."""
        try:
            return await work
        except ToolwayError as error:
            log.info("an account was not connected: %s", error.message)
            sentence = self._kernel.redact(error.message)
            return told("Not connected", f"{sentence[:1].upper()}{sentence[1:]}.", error.status)

    async def _ask(self, incoming: Incoming) -> Response:
        ticket = await self._tickets.open(incoming.path["ticket"])
        upstream = self._upstream(ticket.upstream)
        needs_proof = await self._proof.is_needed(incoming.request, ticket)
        wanted = await self._discovery.wanted(upstream, ticket.scopes)
        account = self._kernel.accounts.get(ticket.principal)
        return page(
            "consent.html",
            title=f"Connect {upstream.name}",
            upstream=upstream.name,
            description=upstream.settings.description,
            account=ticket.principal,
            account_name=account.display_name if account else "",
            issuer=wanted.server.issuer,
            scopes=wanted.scopes,
            discovers=_auth(upstream).discover_as == ticket.principal,
            offer=self._tickets.offer(ticket, wanted),
            needs_proof=needs_proof,
        )

    async def _leave(self, incoming: Incoming) -> Response:
        ticket = await self._tickets.open(incoming.path["ticket"])
        self._refuse_foreign(incoming)
        form = await _form(incoming)
        wanted = self._tickets.offered(ticket, form.get("offer", ""))
        await self._proof.demand(incoming.request, ticket, form.get("credential", ""))
        upstream = self._upstream(ticket.upstream)
        auth = _auth(upstream)
        if auth.client_secret is not None and not (auth.issuer or auth.token_endpoint):
            await self._connections.pin(upstream, wanted.server.issuer)
        await self._tickets.use(ticket)
        state, cookie, flow = await self._tickets.begin(ticket, wanted)
        url = self._authorization(auth, wanted, state, flow.verifier)
        answer = page("leaving.html", title="One moment", url=url, issuer=wanted.server.issuer)
        options = {"max_age": int(LIFETIME), "path": "/", "secure": True, "httponly": True}
        answer.set_cookie(cookie_name(state), cookie, samesite="lax", **options)  # type: ignore[arg-type]
        return answer

    async def _come_back(self, incoming: Incoming) -> Response:
        query: CallbackQuery = incoming.query
        name = cookie_name(query.state)
        flow = await self._tickets.end(query.state, incoming.request.cookies.get(name, ""))
        answer = await self._as_page(self._finish(query, flow))
        answer.delete_cookie(name, path="/", secure=True, httponly=True, samesite="lax")
        return answer

    async def _finish(self, query: CallbackQuery, flow: Flow) -> Response:
        server, ticket = flow.wanted.server, flow.ticket
        if query.iss != server.issuer and (query.iss is not None or server.sends_iss):
            raise ServerUnusable("the answer is of another authorization server than the one that was asked (RFC 9207)")
        if query.error or not query.code:
            reason = " ".join(scopes_in(query.error)) or "no code"
            return told("Not connected", f"{server.issuer} says: {reason}. Call the tool again to begin anew.", 403)
        upstream = self._upstream(ticket.upstream)
        proof = [("code", query.code), ("redirect_uri", self._redirect_uri), ("code_verifier", flow.verifier)]
        tokens = await self._grants.redeem(
            _auth(upstream),
            server,
            proof,
            flow.wanted.scopes,
            flow.wanted.resources,
            allow_private=upstream.settings.allow_private,
        )
        await self._connections.put(ticket.principal, upstream, tokens)
        await self._connected(ticket.principal, upstream)
        return told("Connected", f"{ticket.principal} is connected to {upstream.name}. You can close this page.")

    def _authorization(self, auth: UserOAuth, wanted: Wanted, state: str, verifier: str) -> str:
        """Where consent is given (RFC 6749 section 4.1.1, RFC 7636 section 4.3, RFC 8707 section 2)."""
        asked = [
            ("response_type", "code"),
            ("client_id", auth.client_id),
            ("redirect_uri", self._redirect_uri),
            ("state", state),
            ("code_challenge", challenge(verifier)),
            ("code_challenge_method", "S256"),
            *(("resource", resource) for resource in wanted.resources),
        ]
        if wanted.scopes:
            asked.append(("scope", " ".join(wanted.scopes)))
        if "offline_access" in wanted.scopes:
            asked.append(("prompt", "consent"))  # OpenID Connect Core section 11
        endpoint = wanted.server.authorization_endpoint
        if RESERVED.intersection(parse_qs(endpoint.partition("?")[2], keep_blank_values=True)):
            raise ServerUnusable("the authorization_endpoint has parameters of its own that would replace ours")
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}"

    @property
    def _redirect_uri(self) -> str:
        return f"{self._kernel.public_url}{CALLBACK}"

    def _upstream(self, name: str) -> Upstream:
        """The upstream, if it still wants accounts of its callers."""
        view = self._kernel.catalog.snapshot.upstreams.get(name)
        if view is None or not isinstance(view.upstream.auth, UserOAuth) or not view.upstream.settings.enabled:
            raise NotFound("the upstream that this link is for does not want an account any more")
        return view.upstream

    def _refuse_foreign(self, incoming: Incoming) -> None:
        """A form counts only from a page of ours (reliability, CSRF)."""
        origin, site = incoming.headers.get("origin"), incoming.headers.get("sec-fetch-site", "same-origin")
        if (origin is not None and origin.lower() != _origin(self._kernel.public_url)) or site != "same-origin":
            raise Forbidden("the form came from another site; open the link itself")


def _auth(upstream: Upstream) -> UserOAuth:
    return cast(UserOAuth, upstream.auth)


def _origin(url: str) -> str:
    return "/".join(url.split("/", 3)[:3]).lower()


async def _form(incoming: Incoming) -> dict[str, str]:
    """The fields of the form, each given once."""
    body = bytearray()
    async for chunk in incoming.request.stream():
        body += chunk
        if len(body) > MAX_FORM:
            raise InvalidInput("the form is too large; open the link again")
    try:
        fields = parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=10)
    except ValueError:
        raise InvalidInput("the form cannot be read; open the link again") from None
    return {name: values[0] for name, values in fields.items() if len(values) == 1}
