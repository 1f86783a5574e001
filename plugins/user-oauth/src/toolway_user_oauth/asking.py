"""Asks the caller for an account of the upstream: by URL elicitation, or by an error that names the link."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import msgspec
from msgspec import Raw

from toolway.hookspecs.routing import CALL_METHODS, Call, CallNext, Reply, RpcFault, Upstream
from toolway.plugin import ClientCannot, Kernel, Unauthenticated, UpstreamUnauthorized
from toolway_user_oauth.errors import ConsentNeeded
from toolway_user_oauth.settings import UserOAuth
from toolway_user_oauth.tickets import Tickets
from toolway_user_oauth.wallet import Wallet

POLL_SECONDS = 0.1
URL_ELICITATION_REQUIRED = -32042
"""MCP 2025-11-25, elicitation: the call can be repeated once the link was visited."""
SINCE = "2025-11-25"


class Asking:
    """Request middleware. `patience` is how long a call waits, in seconds, for a person who agreed to open the link."""

    name = "user-oauth"
    methods: ClassVar[frozenset[str]] = CALL_METHODS

    def __init__(self, kernel: Kernel, wallet: Wallet, tickets: Tickets, patience: float) -> None:
        self._kernel = kernel
        self._wallet = wallet
        self._tickets = tickets
        self._patience = patience

    async def __call__(self, call: Call, call_next: CallNext) -> Reply:
        """Pass on with a token of the caller, if need be after asking for consent, once."""
        upstream = self._wanting(call)
        if upstream is None:
            return await call_next(call)
        if call.principal.kind == "anonymous":
            raise Unauthenticated(f"upstream {upstream.name!r} wants an account of yours; send your credential")
        scopes: tuple[str, ...] = ()
        if await self._wallet.connection(call.principal.id, upstream) is not None:
            try:
                return await call_next(call)
            except UpstreamUnauthorized as refused:  # for want of scopes, or fresh tokens too
                if refused.sent:
                    raise  # an earlier attempt may have done something
                scopes = refused.scopes if isinstance(refused, ConsentNeeded) else ()
        refusal = await self._consent(call, upstream, scopes)
        return refusal or await call_next(call)

    def _wanting(self, call: Call) -> Upstream | None:
        view = self._kernel.catalog.snapshot.upstreams.get(call.target.upstream) if call.target else None
        return view.upstream if view is not None and isinstance(view.upstream.auth, UserOAuth) else None

    async def _consent(self, call: Call, upstream: Upstream, scopes: tuple[str, ...]) -> Reply | None:
        """None once the account is connected; else the answer of the call, or ConsentNeeded is raised."""
        before = await self._connected_at(call, upstream)
        url, _ = self._tickets.issue(call.principal.id, upstream.name, scopes, call.server)
        what = f"upstream {upstream.name!r} wants your own account there"
        asked = {"mode": "url", "message": f"{what}: open the link to connect it.", "url": url}
        is_legacy = call.client.era == "legacy"
        if is_legacy:
            asked["elicitationId"] = url.rpartition("/")[2][-32:]
        sentence = f"{what}: open {url} within ten minutes, then call again"
        try:
            said = msgspec.json.decode(await call.ask("elicitation/create", Raw(msgspec.json.encode(asked))))
        except ClientCannot:
            return _refusal(call, asked, sentence)
        if not isinstance(said, dict) or said.get("action") != "accept":
            raise ConsentNeeded(f"{what}, and the person behind the client did not agree to connect it")
        if not await self._is_connected(call, upstream, before):
            return _refusal(call, asked, sentence)
        if is_legacy:
            call.notify("notifications/elicitation/complete", {"elicitationId": _raw(asked["elicitationId"])})
        return None

    async def _is_connected(self, call: Call, upstream: Upstream, before: float) -> bool:
        """Whether the person got through in time."""
        until = self._kernel.clock.monotonic() + self._patience
        while await self._connected_at(call, upstream) in (before, 0.0):
            if self._kernel.clock.monotonic() >= until:
                return False
            await asyncio.sleep(POLL_SECONDS)
        return True

    async def _connected_at(self, call: Call, upstream: Upstream) -> float:
        found = await self._wallet.known(call.principal.id, upstream)
        return found.connected_at if found is not None else 0.0


def _refusal(call: Call, asked: dict[str, str], sentence: str) -> Reply:
    """The error of 2025-11-25 for clients that know it, which then show the link themselves; else a sentence."""
    elicitation = call.client.capabilities.get("elicitation")
    knows = isinstance(elicitation, dict) and "url" in elicitation
    if call.client.era == "legacy" and call.client.version >= SINCE and knows:
        return Reply(fault=RpcFault(URL_ELICITATION_REQUIRED, sentence, _raw({"elicitations": [asked]})))
    raise ConsentNeeded(sentence)


def _raw(value: Any) -> Raw:
    return Raw(msgspec.json.encode(value))
