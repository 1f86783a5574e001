"""What carries JSON-RPC to an upstream, how its messages are read, and how long a reply is waited for."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Mapping
from types import TracebackType
from typing import Protocol

import msgspec
from msgspec import UNSET, Raw

from toolway.errors import UpstreamError, UpstreamProtocol, UpstreamTimeout
from toolway.hookspecs.routing import Peer, Reply, RpcFault
from toolway.mcp.messages import Envelope, encode_notification, result_kind

OPENING_SECONDS = 30.0
"""For a handshake, a request of the gateway's own, or the acknowledgement of a subscription."""

MAX_MESSAGE = 8 * 1024 * 1024
"""Largest message that is taken from an upstream, in bytes: it has to be held whole."""


class Outbound(msgspec.Struct, eq=False):
    """One request: `headers` only matter to HTTP, `deadline` is monotonic seconds, `first_byte` seconds."""

    method: str
    params: dict[str, Raw]
    peer: Peer
    headers: Mapping[str, str] = {}
    first_byte: float = OPENING_SECONDS
    deadline: float = math.inf


class Channel(Protocol):
    """Carries requests and notifications; whoever implements it numbers requests and matches replies."""

    async def call(self, outbound: Outbound) -> Reply:
        """Send and wait; raises UpstreamError. Cancelling gives the request up."""

    async def tell(self, method: str, params: Mapping[str, Raw]) -> None:
        """Send a notification; raises UpstreamError."""

    async def close(self) -> None:
        """No more messages."""


class Patience:
    """`async with` it while waiting for the reply: until `begun` for the first byte, then until the deadline.

    Raises:
        UpstreamTimeout: when it has run out.
    """

    def __init__(self, outbound: Outbound, upstream: str) -> None:
        self._what = f"upstream {upstream!r} did not answer {outbound.method} in time; the outcome is unknown"
        self._deadline = outbound.deadline
        first = asyncio.get_running_loop().time() + outbound.first_byte
        self._timer = asyncio.timeout_at(_finite(min(first, outbound.deadline)))
        self._waits_for_first = True

    def begun(self) -> None:
        """Something of the answer has come."""
        if self._waits_for_first and not self._timer.expired():
            self._waits_for_first = False
            self._timer.reschedule(_finite(self._deadline))

    async def __aenter__(self) -> Patience:
        await self._timer.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._timer.__aexit__(kind, error, trace)
        except TimeoutError:
            raise UpstreamTimeout(self._what) from None


class _Refusal(msgspec.Struct):
    error: RpcFault


_envelope = msgspec.json.Decoder(Envelope)
_refusal = msgspec.json.Decoder(_Refusal)


def read_message(data: bytes) -> Envelope:
    """One message of an upstream; raises UpstreamProtocol when it is not JSON-RPC or too large."""
    if len(data) > MAX_MESSAGE:
        raise UpstreamProtocol(f"the upstream sent a message of more than {MAX_MESSAGE} bytes")
    try:
        data.isascii() or data.decode()
        envelope = _envelope.decode(data)
    except (msgspec.DecodeError, RecursionError, ValueError):
        raise UpstreamProtocol("the upstream sent something that is not a JSON-RPC message") from None
    if envelope.jsonrpc != "2.0":
        raise UpstreamProtocol("the upstream sent a message that is not JSON-RPC 2.0")
    return envelope


def reply_of(envelope: Envelope, *, modern: bool) -> Reply:
    """A response as a reply; only modern results have a kind."""
    if isinstance(envelope.error, RpcFault) and envelope.result is UNSET:
        return Reply(fault=envelope.error)
    if envelope.result is UNSET or envelope.error is not UNSET:
        raise UpstreamProtocol("the upstream sent a response that has not exactly one of result and error")
    return Reply(envelope.result, kind=result_kind(envelope.result) if modern else "complete")


def matched(envelope: Envelope, request_id: int, *, modern: bool) -> Reply:
    """The reply to our request; raises UpstreamProtocol when it is anything else."""
    if envelope.method is not UNSET or isinstance(envelope.id, bool) or envelope.id != request_id:
        raise UpstreamProtocol("the upstream answered something else than our request")
    return reply_of(envelope, modern=modern)


def refusal(status: int, body: bytes) -> Reply:
    """The fault in the body of an HTTP error, whatever id it has: it came on our request's own connection.

    Raises:
        UpstreamError: the body has none; not sent when the status says that nothing was done.
    """
    try:
        return Reply(fault=_refusal.decode(body).error)
    except (msgspec.DecodeError, RecursionError, ValueError):
        pass
    message = f"the upstream answered HTTP status {status} without a JSON-RPC message"
    if status >= 500 or status == 429:
        raise UpstreamError(message, sent=status != 429)
    raise UpstreamProtocol(message)


def cancelled_notification(request_id: int | str) -> bytes:
    """What tells a server on pipes, or a legacy one, that a request was given up."""
    return encode_notification("notifications/cancelled", {"requestId": Raw(msgspec.json.encode(request_id))})


def raw_members(raw: Raw | None) -> dict[str, Raw]:
    """The members of a raw object; empty for anything else."""
    with contextlib.suppress(msgspec.DecodeError):
        return msgspec.json.decode(raw, type=dict[str, Raw]) if raw is not None else {}
    return {}


def _finite(when: float) -> float | None:
    return None if when == math.inf else when
