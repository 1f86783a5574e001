"""W3C Trace Context: what is read from headers and from `_meta`, and what is written there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Raw

_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
CARRIED = ("tracestate", "baggage")
LONGEST = 8192
"""Characters; what is longer is not passed on (W3C Baggage, limits)."""


class Remote(msgspec.Struct, frozen=True):
    """Where a trace comes from: its id and the span's there, whether it is sampled."""

    trace_id: int
    span_id: int
    is_sampled: bool


def parse(traceparent: str) -> Remote | None:
    """What a `traceparent` says; None when it is none (W3C Trace Context, section 3.2)."""
    match = _PARENT.fullmatch(traceparent)
    if match is None or (traceparent.startswith("00") and len(traceparent) != 55):
        return None
    return Remote(int(match[1], 16), int(match[2], 16), bool(int(match[3], 16) & 1))


def of_headers(headers: Iterable[tuple[bytes, bytes]]) -> tuple[Remote | None, dict[str, str]]:
    """The remote parent, and what is passed on beside it."""
    remote, carried = None, dict[str, str]()
    for name, value in headers:
        if name == b"traceparent":
            remote = parse(value.decode("latin-1"))
        elif name in (b"tracestate", b"baggage") and len(value) <= LONGEST:
            carried[name.decode()] = value.decode("latin-1")
    return remote, carried


def of_meta(meta: Mapping[str, Raw]) -> tuple[Remote | None, dict[str, str]]:
    """The same of `_meta` (SEP-414: the members have the names of the headers)."""
    said = {name: _text(meta[name]) for name in ("traceparent", *CARRIED) if name in meta}
    remote = parse(said.pop("traceparent", ""))
    return remote, {name: value for name, value in said.items() if value and len(value) <= LONGEST}


def of_raw_meta(meta: bytes) -> tuple[Remote | None, dict[str, str]]:
    """The same of a `_meta` that is not decoded yet."""
    if b'"traceparent"' not in meta:
        return None, {}
    try:
        return of_meta(msgspec.json.decode(meta, type=dict[str, Raw]))
    except msgspec.DecodeError:
        return None, {}


def _text(raw: Raw) -> str:
    try:
        return msgspec.json.decode(raw, type=str)
    except msgspec.DecodeError:
        return ""
