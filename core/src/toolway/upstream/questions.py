"""What an upstream sends on its own: notifications are passed on, questions answered by whoever may be asked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import msgspec
from msgspec import UNSET, Raw

from toolway.errors import ClientCannot, ToolwayError
from toolway.hookspecs.routing import Leg, Peer, RpcFault
from toolway.mcp.errors import INTERNAL_ERROR, METHOD_NOT_FOUND, RpcError
from toolway.mcp.messages import Envelope, encode_error, encode_result
from toolway.upstream.channel import raw_members

log = logging.getLogger(__name__)

NEEDED = {"elicitation/create": "elicitation", "sampling/createMessage": "sampling", "roots/list": "roots"}
"""The client capability that a server-to-client request needs."""

MAX_QUESTIONS = 64
"""Questions of one upstream conversation that may wait at the same time."""


class Tasks:
    """What a conversation does on the side: kept until it ends, failures are logged, all end together."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do it in the background."""
        task = asyncio.create_task(_logged(work))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def close(self) -> None:
        """End all of it."""
        tasks = [task for task in self._running if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Questions:
    """Takes an upstream's notifications and requests; answers leave through `send`."""

    def __init__(self, leg: Leg, send: Callable[[bytes], Awaitable[None]], tasks: Tasks) -> None:
        self._capabilities = leg.client.capabilities
        self._leg_peer = leg.peer
        self._send = send
        self._tasks = tasks
        self._waiting: dict[int | str, tuple[asyncio.Task[None], Peer]] = {}

    def take(self, message: Envelope, peer: Peer) -> None:
        """Pass a notification on to `peer`, or start to have a request answered by it."""
        method = str(message.method)
        if message.id is UNSET:
            if method == "notifications/cancelled":
                self._withdraw(message)
            else:
                self._pass_on(message, peer)
        elif isinstance(message.id, int | str) and message.id not in self._waiting:
            task = self._tasks.start(self._answer(message.id, message, peer))
            self._waiting[message.id] = (task, peer)

    def drop(self, peer: Peer) -> None:
        """The request of this peer is over: nobody waits for its answers any more."""
        if peer is self._leg_peer:
            return
        for request_id, (task, asked) in list(self._waiting.items()):
            if asked is peer:
                del self._waiting[request_id]
                task.cancel()

    @staticmethod
    def _pass_on(message: Envelope, peer: Peer) -> None:
        try:
            peer.notify(str(message.method), message.members)
        except Exception:
            log.warning("notification %r of an upstream could not be passed on", message.method, exc_info=True)

    def _withdraw(self, message: Envelope) -> None:
        raw = message.members.get("requestId")
        try:
            request_id = msgspec.json.decode(raw, type=int | str) if raw is not None else None
        except msgspec.DecodeError:
            return
        if request_id is not None and request_id in self._waiting:
            self._waiting.pop(request_id)[0].cancel()

    async def _answer(self, request_id: int | str, message: Envelope, peer: Peer) -> None:
        try:
            answer = await self._ask(request_id, message, peer)
        finally:
            self._waiting.pop(request_id, None)
        await self._send(answer)

    async def _ask(self, request_id: int | str, message: Envelope, peer: Peer) -> bytes:
        method = str(message.method)
        if method == "ping":
            return encode_result(request_id, Raw(b"{}"))
        if NEEDED.get(method) not in self._capabilities:
            return encode_error(request_id, RpcFault(METHOD_NOT_FOUND, f"this client does not offer {method}"))
        if len(self._waiting) > MAX_QUESTIONS:
            return encode_error(request_id, RpcFault(INTERNAL_ERROR, "too many requests wait for the client"))
        try:
            return encode_result(request_id, await peer.ask(method, Raw(msgspec.json.encode(message.members))))
        except ToolwayError as error:
            return encode_error(request_id, _fault(error))
        except Exception:
            log.exception("asking a client failed")
            return encode_error(request_id, RpcFault(INTERNAL_ERROR, "the client could not be asked"))


def subscription_of(message: Envelope, key: str) -> int | None:
    """The number under `key` in the `_meta` of a notification."""
    raw = raw_members(message.members.get("_meta")).get(key)
    try:
        return msgspec.json.decode(raw, type=int) if raw is not None else None
    except msgspec.DecodeError:
        return None


def _fault(error: ToolwayError) -> RpcFault:
    if isinstance(error, RpcError):
        return RpcFault(error.rpc_code, error.message, error.data)
    if isinstance(error, ClientCannot):
        return RpcFault(METHOD_NOT_FOUND, error.message)
    return RpcFault(INTERNAL_ERROR, error.message)


async def _logged(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except ToolwayError as error:
        log.info("a message to an upstream was lost: %s", error)
    except Exception:
        log.exception("the conversation with an upstream met a bug")
