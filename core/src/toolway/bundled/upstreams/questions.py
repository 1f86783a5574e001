"""What an upstream sends on its own: notifications are passed on, questions answered by whoever may be asked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import msgspec
from msgspec import UNSET, Raw

from toolway.bundled.upstreams.channel import raw
from toolway.bundled.upstreams.repeat import Tasks
from toolway.hookspecs.routing import Leg, Peer, RpcFault
from toolway.mcp.clients import NEEDED
from toolway.mcp.errors import INTERNAL_ERROR, METHOD_NOT_FOUND, RpcError
from toolway.mcp.messages import Envelope, encode_error, encode_result
from toolway.plugin import ClientCannot, ToolwayError

log = logging.getLogger(__name__)

MAX_QUESTIONS = 64
"""Questions of one upstream conversation that may wait at the same time; so may answers that it does not read."""


class Questions:
    """Takes an upstream's notifications and requests; answers leave through `send`."""

    def __init__(self, leg: Leg, send: Callable[[bytes], Awaitable[None]], tasks: Tasks) -> None:
        self._leg = leg
        self._send = send
        self._tasks = tasks
        self._unread = asyncio.Semaphore(MAX_QUESTIONS)
        self.waiting: dict[int | str, tuple[asyncio.Task[None], Peer]] = {}

    def take(self, message: Envelope, peer: Peer) -> None:
        """Pass a notification on to `peer`, or start to have a request answered by it."""
        if isinstance(message.id, int | str):
            if message.id not in self.waiting:
                self.waiting[message.id] = self._tasks.start(self._answer(message.id, message, peer)), peer
        elif message.method == "notifications/cancelled":
            self._withdraw(message)
        elif message.id is UNSET:
            try:
                peer.notify(str(message.method), message.members)
            except Exception:
                log.warning("notification %r of an upstream could not be passed on", message.method, exc_info=True)

    def drop(self, peer: Peer) -> None:
        """The request of this peer is over: nobody waits for its answers any more."""
        for request_id, (task, asked) in list(self.waiting.items()):
            if asked is peer and peer is not self._leg.peer:
                del self.waiting[request_id]
                task.cancel()

    def _withdraw(self, message: Envelope) -> None:
        try:
            request_id = msgspec.json.decode(message.members.get("requestId", b"0"), type=int | str)
        except msgspec.DecodeError:
            return
        if request_id in self.waiting:
            self.waiting.pop(request_id)[0].cancel()

    async def _answer(self, request_id: int | str, message: Envelope, peer: Peer) -> None:
        try:
            answer = await self._ask(str(message.method), message, peer)
        finally:
            self.waiting.pop(request_id, None)
        encoded = (
            encode_error(request_id, answer) if isinstance(answer, RpcFault) else encode_result(request_id, answer)
        )
        if not self._unread.locked():
            async with self._unread:
                await self._send(encoded)

    async def _ask(self, method: str, message: Envelope, peer: Peer) -> Raw | RpcFault:
        if method == "ping":
            return Raw(b"{}")
        if NEEDED.get(method) not in self._leg.client.capabilities:
            return RpcFault(METHOD_NOT_FOUND, f"this client does not offer {method}")
        if len(self.waiting) > MAX_QUESTIONS:
            return RpcFault(INTERNAL_ERROR, "too many requests wait for the client")
        try:
            return await peer.ask(method, raw(message.members))
        except RpcError as error:
            return RpcFault(error.rpc_code, error.message, error.data)
        except ToolwayError as error:
            return RpcFault(METHOD_NOT_FOUND if isinstance(error, ClientCannot) else INTERNAL_ERROR, error.message)
        except Exception:
            log.exception("asking a client failed")
            return RpcFault(INTERNAL_ERROR, "the client could not be asked")
