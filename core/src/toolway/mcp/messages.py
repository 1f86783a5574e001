"""The JSON-RPC envelope: decoded once, payloads kept as bytes, bounds checked before anything is trusted."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from toolway.hookspecs.routing import RpcFault
from toolway.mcp.errors import INVALID_REQUEST, PARSE_ERROR, RpcError

MAX_DEPTH = 64
MAX_KEYS = 10_000
MAX_VALUES = 100_000


class Envelope(msgspec.Struct):
    """One JSON-RPC 2.0 message. A request has `method` and `id`, a notification only `method`, a response none."""

    jsonrpc: str
    id: int | str | UnsetType | None = UNSET
    method: str | UnsetType = UNSET
    params: dict[str, Raw] | UnsetType | None = UNSET
    result: Raw | UnsetType = UNSET
    error: RpcFault | UnsetType | None = UNSET

    @property
    def members(self) -> dict[str, Raw]:
        """The members of `params`; empty where it has none."""
        return self.params if isinstance(self.params, dict) else {}


class NotAMessage(RpcError):
    """JSON, but no JSON-RPC 2.0 message; `request_id` is its id where one can be told (JSON-RPC 2.0 section 5)."""

    def __init__(self, request_id: int | str | None) -> None:
        text = "the body is not one JSON-RPC 2.0 message (batches are not accepted)"
        super().__init__(INVALID_REQUEST, text, status=400)
        self.request_id = request_id


class _Kind(msgspec.Struct, rename="camel"):
    result_type: str = "complete"


class _ToolResult(msgspec.Struct, rename="camel"):
    is_error: bool = False


SLICE = 128 * 1024
"""Bytes that are measured in one step."""

_STRING = re.compile(rb'"[^"]*+"')
_NO_STRUCTURE = bytes(byte for byte in range(256) if byte not in b'[]{}:,"')
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")

_envelope = msgspec.json.Decoder(Envelope)
_COMPLETE = re.compile(rb'\{\s*"resultType"\s*:\s*"complete"\s*[,}]')
_kind = msgspec.json.Decoder(_Kind)
_tool_result = msgspec.json.Decoder(_ToolResult)
_members = msgspec.json.Decoder(dict[str, Raw])
_encode = msgspec.json.Encoder().encode


def decode(body: bytes, *, is_measured: bool = False) -> Envelope:
    """Decode and check one message; the bounds of one that `is_measured` have been checked.

    Raises:
        RpcError: -32700 when it is not JSON in UTF-8, -32600 when it is out of bounds.
        NotAMessage: -32600 when it is JSON but no JSON-RPC message.
    """
    try:
        body.isascii() or body.decode()
    except UnicodeDecodeError:
        raise RpcError(PARSE_ERROR, "the body is not UTF-8", status=400) from None
    if not is_measured and (len(body) > MAX_KEYS or body.count(b"{") + body.count(b"[") > MAX_DEPTH):
        for _ in measured(body):  # smaller ones cannot be out of bounds
            pass
    try:
        envelope = _envelope.decode(body)
    except msgspec.ValidationError:
        raise _not_rpc(body) from None
    except (msgspec.DecodeError, RecursionError, ValueError):
        raise RpcError(PARSE_ERROR, "the body is not valid JSON", status=400) from None
    is_call = envelope.method is not UNSET and envelope.id is not None
    if envelope.jsonrpc != "2.0" or envelope.params is None or not (is_call or _is_response(envelope)):
        raise _not_rpc(body)
    return envelope


def measured(body: bytes) -> Iterator[None]:
    """Refuse what is too deep or has too many members, in steps of a few milliseconds, between which others are served.

    Most bodies need none: bytes are counted first, and only what is above a bound then is looked at closely.
    """
    openings = body.count(b"{") + body.count(b"[")
    if openings <= MAX_DEPTH and body.count(b":") <= MAX_KEYS and body.count(b",") <= MAX_VALUES:
        return
    rest = body.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _NO_STRUCTURE)
    level = deepest = keys = values = start = 0
    while start < len(rest):
        end = _slice_end(rest, start)
        bare = _STRING.sub(b"", rest[start:end])
        levels = array("l", accumulate(array("b", bare.translate(_STEPS, delete=b":,")), initial=level))
        level, deepest, start = levels[-1], max(deepest, *levels), end
        keys, values = keys + bare.count(b":"), values + bare.count(b",")
        if deepest > MAX_DEPTH or keys > MAX_KEYS or values > MAX_VALUES:
            bounds = f"at most {MAX_DEPTH} levels, {MAX_KEYS} keys, {MAX_VALUES} values"
            raise RpcError(INVALID_REQUEST, f"the message is too complex: {bounds}", status=400)
        yield


def decoded(params: Mapping[str, Raw], key: str, expected: type[Any]) -> Any:
    """A member of raw params; None when it is missing or of another type."""
    try:
        return msgspec.json.decode(params[key], type=expected)
    except (KeyError, msgspec.DecodeError):
        return None


def encode_request(request_id: int | str, method: str, params: Mapping[str, Raw] | Raw | None = None) -> bytes:
    """A request; `params` may be raw JSON."""
    message: dict[str, Any] = {"jsonrpc": "2.0", "id": request_id, "method": method}
    if params is not None:
        message["params"] = params
    return _encode(message)


def encode_notification(method: str, params: Mapping[str, Raw] | Raw | None = None) -> bytes:
    """A notification; empty params are left out."""
    message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
    if params:
        message["params"] = params
    return _encode(message)


def encode_result(request_id: int | str, result: Raw) -> bytes:
    """A successful response; the result's bytes stay as they are."""
    return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (_encode(request_id), result)


def encode_error(request_id: int | str | None, fault: RpcFault) -> bytes:
    """An error response; without an id when the request had none that could be read."""
    return _encode({"jsonrpc": "2.0", "id": request_id, "error": fault})


def result_kind(result: Raw) -> str:
    """The `resultType` of a result, `complete` where it has none; anything that is no object is complete too.

    Of a result that begins with it, as most do, the rest is not looked at.
    """
    if _COMPLETE.match(result) or b'"resultType"' not in bytes(result):
        return "complete"
    try:
        return _kind.decode(result).result_type
    except msgspec.DecodeError:
        return "complete"


def says_error(result: Raw) -> bool:
    """Whether a tool says of itself that it failed (`isError`); raises msgspec.DecodeError when that cannot be read."""
    return _tool_result.decode(result).is_error


def split_meta(params: Mapping[str, Raw] | None) -> tuple[dict[str, Raw], dict[str, Raw] | None]:
    """`params` without `_meta`, and the members of `_meta` (None where there is none or it is no object)."""
    own = dict(params or {})
    raw = own.pop("_meta", None)
    if raw is None:
        return own, None
    try:
        return own, _members.decode(raw)
    except msgspec.DecodeError:
        return own, None


def _is_response(envelope: Envelope) -> bool:
    is_told = envelope.result is not UNSET or bool(envelope.error)
    return envelope.method is UNSET and envelope.id is not UNSET and is_told


def _not_rpc(body: bytes) -> RpcError:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, ValueError):
        return RpcError(PARSE_ERROR, "the body is not valid JSON", status=400)
    identity = value.get("id") if isinstance(value, dict) else None
    is_id = isinstance(identity, int | str) and not isinstance(identity, bool)
    return NotAMessage(identity if is_id else None)


def _slice_end(text: bytes, start: int) -> int:
    """Where a slice ends that cuts no string in two; `text` has no escaped quotes."""
    end = start + SLICE
    if end >= len(text) or text.count(b'"', start, end) % 2 == 0:
        return end
    last = text.rfind(b'"', start, end)
    if last > start:
        return last
    closing = text.find(b'"', start + 1)
    return closing + 1 if closing > 0 else len(text)
