"""W3C Trace Context: what is read from headers and from `_meta`, and what is written there."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec
from msgspec import Raw

_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
CARRIED = ("tracestate", "baggage")
HEADERS = (b"traceparent", b"tracestate", b"baggage")
LONGEST = 8192
"""Characters; what is longer is not passed on (W3C Baggage, limits)."""


class Remote(msgspec.Struct, frozen=True):
    """Where a trace comes from: its id and the span's there, in hexadecimal, and whether it is sampled."""

    trace_id: str
    span_id: str
    is_sampled: bool


def parse(traceparent: str) -> Remote | None:
    """What a `traceparent` says; None when it is none (W3C Trace Context, section 3.2)."""
    match = _PARENT.fullmatch(traceparent)
    if match is None or (traceparent.startswith("00") and len(traceparent) != 55):
        return None
    return Remote(match[1], match[2], bool(int(match[3], 16) & 1))


def of_headers(known: Mapping[bytes, bytes]) -> tuple[Remote | None, dict[str, str]]:
    """The remote parent, and what is passed on beside it."""
    traceparent = known.get(b"traceparent")
    carried = {
        name.decode(): known[name].decode("latin-1")
        for name in HEADERS[1:]
        if name in known and len(known[name]) <= LONGEST
    }
    return parse(traceparent.decode("latin-1")) if traceparent is not None else None, carried


def of_meta(meta: Mapping[str, Raw]) -> tuple[Remote | None, dict[str, str]]:
    """The same of `_meta` (SEP-414: the members have the names of the headers)."""
    said = {name: _text(meta[name]) for name in ("traceparent", *CARRIED) if name in meta}
    remote = parse(said.pop("traceparent", ""))
    return remote, {name: value for name, value in said.items() if value and len(value) <= LONGEST}


def of_raw_meta(meta: bytes) -> tuple[Remote | None, dict[str, str]]:
    """The same of a `_meta` that is not decoded yet."""
    try:
        return of_meta(msgspec.json.decode(meta, type=dict[str, Raw]))
    except msgspec.DecodeError:
        return None, {}


def _text(raw: Raw) -> str:
    try:
        return msgspec.json.decode(raw, type=str)
    except msgspec.DecodeError:
        return ""
