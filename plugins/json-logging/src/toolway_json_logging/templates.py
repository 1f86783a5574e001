"""Lines of the access log that are nearly the same: one is made with care, the others of a second are filled in."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from toolway.hookspecs.telemetry import Served
from toolway_json_logging.access import Access
from toolway_json_logging.ids import HEADER

if TYPE_CHECKING:
    from toolway_json_logging.json_lines import AccessFields

MARK, PART, LENGTH = secrets.token_hex(16), secrets.token_hex(16), float(secrets.randbits(48))
"""Stand for what differs; nobody outside knows them, so nothing that was sent looks like one."""

SHORT = 512
"""Characters."""

Likeness = tuple[object, ...]
Parts = tuple[str, str, str, str, str, str]


class Templates:
    """Templates of the second that it is; what is secret may be different in the next one. Belongs to one thread.

    Ids of clients are never filled in: they may hold anything, and are redacted line by line.
    """

    def __init__(self) -> None:
        self._second = 0
        self._known: dict[Likeness, Parts] = {}

    def fill(self, ended: Sequence[Served], make: Callable[[Served], str | None]) -> list[str]:
        """Their lines; `make` has to make those that are like none of this second, and may keep them."""
        lines, are_plain = [], _are_hexadecimal([each.trace_id + each.span_id for each in ended])
        for served, likeness in zip(ended, _likenesses(ended), strict=True):
            at, seconds = served.began + served.seconds - self._second, served.seconds
            parts = self._known.get(likeness) if 0.0 <= at < 1.0 else None
            is_plain = are_plain or _are_hexadecimal([served.trace_id, served.span_id])
            if parts is not None and is_plain and served.error is None and HEADER not in served.fields:
                begin, to_id, to_trace, to_span, to_duration, end = parts
                lines.append(
                    f"{begin}{str(1_000_000 + int(at * 1e6))[1:]}{to_id}{served.request_id}{to_trace}{served.trace_id}"
                    f"{to_span}{served.span_id}{to_duration}{seconds:.6f}{end}"
                )
            elif (line := make(served)) is not None:
                lines.append(line)
        return lines

    def learn(self, access: Access, fields: AccessFields, line: Callable[[AccessFields], str]) -> None:
        """Lines like the one with these fields need not be made again, unless something had to be hidden."""
        served = access.served
        if access.phase != "request" or not is_short(served):
            return  # in another thread
        if not 0 <= self._second - int(access.at) <= 1:  # a later one, or the clock was set back
            self._second, self._known = int(access.at), {}
        told = (fields.item, fields.method, fields.principal)
        asked = (served.item, served.method, "" if served.principal is None else served.principal.id)
        is_plain = served.error is None and served.route and served.request_id and told == asked
        is_plain = is_plain and bool(served.trace_id) == bool(served.span_id)
        is_plain = is_plain and _are_hexadecimal([served.trace_id, served.span_id])
        if is_plain and int(access.at) == self._second:
            self._known[_likenesses([served])[0]] = _parts(fields, line)


def is_short(served: Served) -> bool:
    """Whether it takes next to no time to look for secrets in what came from outside."""
    return len(served.request_id) + len(served.item) + len(served.method) + len(served.scope["path"]) <= SHORT


def _parts(fields: AccessFields, line: Callable[[AccessFields], str]) -> Parts:
    """What stands around microseconds, ids and duration; the whole seconds are those of all lines."""
    fields.timestamp = f"{fields.timestamp[: len('2026-07-28T00:00:00.')]}{PART}Z"
    is_traced = bool(fields.trace_id)
    fields.request_id = fields.trace_id = fields.span_id = MARK
    fields.duration = LENGTH
    begin, rest = line(fields).split(PART)
    to_id, to_trace, to_span, to_duration = rest.split(MARK)
    if not is_traced:
        to_trace, to_span = to_trace.removesuffix('"trace_id":"'), ""
        to_duration = to_duration.removeprefix('",')
    to_duration, end = to_duration.split(msgspec.json.encode(LENGTH).decode())
    return begin, to_id, to_trace, to_span, to_duration, end


def _likenesses(ended: Iterable[Served]) -> list[Likeness]:
    return [
        (
            served.status,
            served.route,
            served.method,
            served.item,
            served.upstream,
            served.server,
            served.scope["method"],
            client[0] if (client := served.scope.get("client")) else None,
            None if (principal := served.principal) is None else principal.id,
            not served.trace_id,
            not served.span_id,
        )
        for served in ended
    ]


def _are_hexadecimal(ids: Iterable[str]) -> bool:
    """Whoever sets them should see to it that they are; empty ones are fine."""
    digits = "".join(ids)
    try:
        return 2 * len(bytes.fromhex(digits)) == len(digits)  # it takes spaces, too
    except ValueError:
        return False
