"""What carries JSON-RPC to an upstream, how its messages are read, and how long they are waited for."""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

import msgspec
from msgspec import UNSET, Raw

from toolway.hookspecs.routing import Reply, RpcFault, UpstreamRequest
from toolway.mcp.messages import Envelope, encode_notification, result_kind
from toolway.plugin import UpstreamError, UpstreamProtocol, UpstreamTimeout

OPENING_SECONDS = 30.0
"""For a handshake, a request of the gateway's own, or the acknowledgement of a subscription."""

MAX_MESSAGE = 8 * 1024 * 1024
"""Largest message that is taken from an upstream, in bytes: it has to be held whole."""

LISTEN = "subscriptions/listen"


Again = Callable[[UpstreamRequest, RpcFault], Coroutine[Any, Any, Reply] | None]


class Channel(Protocol):
    """Numbers requests, carries them and matches replies. `lost` is set when a legacy session is over."""

    lost: asyncio.Event

    async def begin(self) -> None:
        """Start anew: `initialize` is sent next."""

    def agreed(self, version: str) -> None:
        """The handshake is done."""

    def listen(self, missed: Callable[[], None]) -> None:
        """Receive what belongs to no request; `missed` is called when something may have been lost."""

    async def listening(self) -> None:
        """Wait until that is received, or the first try has failed; for a few seconds."""

    async def call(self, request: UpstreamRequest, again: Again | None = None) -> Reply:
        """Send with params as they are and wait; raises UpstreamError. Cancelling gives the request up.

        `again` hears of a fault, and may have a better reply.
        """

    async def tell(self, method: str, params: Mapping[str, Raw]) -> None:
        """Send a notification; raises UpstreamError."""

    async def close(self) -> None:
        """No more messages."""


class Refusal(Reply, kw_only=True):
    """A fault that came with an HTTP error status."""

    fault: RpcFault
    status: int


class _Error(msgspec.Struct):
    error: RpcFault


_envelope = msgspec.json.Decoder(Envelope)
_error = msgspec.json.Decoder(_Error)
_SECONDS = re.compile(r"[0-9]{1,9}")


@contextlib.asynccontextmanager
async def in_time(when: float, who: str, *, sent: bool = True) -> AsyncIterator[asyncio.Timeout]:
    """Everything inside happens before `when` (monotonic seconds), or UpstreamTimeout is raised."""
    try:
        async with asyncio.timeout_at(when) as timer:
            yield timer
    except TimeoutError:
        outcome = "the outcome is unknown" if sent else "nothing was done"
        raise UpstreamTimeout(f"{who} did not answer in time; {outcome}", sent=sent) from None


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
    if envelope.result is not UNSET and envelope.error is UNSET:
        return Reply(envelope.result, kind=result_kind(envelope.result) if modern else "complete")
    return reply_of(envelope, modern=modern)


def refusal(status: int, body: bytes, retry_after: str = "") -> Refusal:
    """The fault in the body of an HTTP error, whatever id it has: it came on our request's own connection.

    Raises:
        UpstreamError: the body has none; not sent when the status says that nothing was done. Its details have
            `upstream_status`, and `retry_after` in seconds if the upstream named a time.
    """
    with contextlib.suppress(msgspec.DecodeError, RecursionError, ValueError):
        return Refusal(fault=_error.decode(body).error, status=status)
    message = f"the upstream answered HTTP status {status} without a JSON-RPC message"
    wait = _wait(retry_after)
    if status >= 500 or status == 429:
        raise UpstreamError(message, sent=status != 429, upstream_status=status, **wait)
    raise UpstreamProtocol(message, upstream_status=status)


def _wait(said: str) -> dict[str, int]:
    """Seconds, of a `Retry-After` that is a number of them or a date (RFC 9110, section 10.2.3)."""
    if _SECONDS.fullmatch(said):
        return {"retry_after": int(said)}
    try:
        left = parsedate_to_datetime(said) - datetime.now(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return {}
    return {"retry_after": max(0, math.ceil(left.total_seconds()))}


def cancellation(request_id: int) -> bytes:
    """What tells a server on pipes, or a legacy one, that a request was given up."""
    return encode_notification("notifications/cancelled", {"requestId": raw(request_id)})


def raw(value: object) -> Raw:
    """The value as JSON."""
    return Raw(msgspec.json.encode(value))


def raw_members(raw: Raw | None) -> dict[str, Raw]:
    """The members of a raw object; empty for anything else."""
    with contextlib.suppress(msgspec.DecodeError):
        return msgspec.json.decode(raw, type=dict[str, Raw]) if raw is not None else {}
    return {}
