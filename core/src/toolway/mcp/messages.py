"""The JSON-RPC envelope: decoded once, payloads kept as bytes, bounds checked before anything is trusted."""

from __future__ import annotations

import re
from array import array
from collections.abc import Mapping
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


_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")

_envelope = msgspec.json.Decoder(Envelope)
_kind = msgspec.json.Decoder(_Kind)
_members = msgspec.json.Decoder(dict[str, Raw])
_encode = msgspec.json.Encoder().encode


def decode(body: bytes) -> Envelope:
    """Decode and check one message.

    Raises:
        RpcError: -32700 when it is not JSON in UTF-8, -32600 when it is out of bounds.
        NotAMessage: -32600 when it is JSON but no JSON-RPC message.
    """
    try:
        body.isascii() or body.decode()
    except UnicodeDecodeError:
        raise RpcError(PARSE_ERROR, "the body is not UTF-8", status=400) from None
    if len(body) > MAX_KEYS or body.count(b"{") + body.count(b"[") > MAX_DEPTH:  # else it cannot be out of bounds
        check_bounds(body)
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


def check_bounds(body: bytes) -> None:
    """Refuse what is too deep or has too many members; counts bytes first and scans only above a bound."""
    openings = body.count(b"{") + body.count(b"[")
    if openings > MAX_DEPTH or body.count(b":") > MAX_KEYS or body.count(b",") > MAX_VALUES:
        depth, keys, values = _measure(body)
        if depth > MAX_DEPTH or keys > MAX_KEYS or values > MAX_VALUES:
            raise RpcError(
                INVALID_REQUEST,
                f"the message is too complex: at most {MAX_DEPTH} levels, {MAX_KEYS} keys, {MAX_VALUES} values",
                status=400,
            )


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
    """The `resultType` of a result, `complete` where it has none; anything that is no object is complete too."""
    if b'"resultType"' not in bytes(result):
        return "complete"
    try:
        return _kind.decode(result).result_type
    except msgspec.DecodeError:
        return "complete"


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


def _measure(body: bytes) -> tuple[int, int, int]:
    """Depth, keys and values of JSON text, without parsing it: strings are cut out, the rest is counted."""
    bare = _STRING.sub(b"", body)
    steps = array("b", bare.translate(_STEPS, delete=_NOT_BRACKETS))
    return max(accumulate(steps), default=0), bare.count(b":"), bare.count(b",")
