"""Lines of the access log that are nearly the same: one is made with care, the others of a second are filled in."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from toolway_json_logging.access import Access
from toolway_json_logging.ids import HEADER

if TYPE_CHECKING:
    from toolway_json_logging.json_lines import AccessFields

MARK, PART, LENGTH = secrets.token_hex(16), secrets.token_hex(16), float(secrets.randbits(48))
"""Stand for what differs; nobody outside knows them, so nothing that was sent looks like one."""

Likeness = tuple[object, ...]
Template = tuple[str, str, str, str, str]


class Templates:
    """Templates of the second that it is; what is secret may be different in the next one.

    Ids of clients are never filled in: they may hold anything, and are redacted line by line.
    """

    def __init__(self) -> None:
        self._second = 0
        self._known: dict[Likeness, Template] = {}

    def filled(self, access: Access) -> str | None:
        """The line, if one like it was made in this second."""
        if int(access.at) != self._second:
            self._second, self._known = int(access.at), {}
        served, trace = access.served, ""
        template = self._known.get(_likeness(access))
        if template is None or served.error is not None or HEADER in served.fields:
            return None
        if served.trace_id:
            if not (served.trace_id + served.span_id).isalnum():
                return None
            trace = f'"trace_id":"{served.trace_id}","span_id":"{served.span_id}",'
        begin, to_id, to_trace, to_duration, end = template
        micro, id_ = int(access.at % 1 * 1e6), served.request_id
        return f"{begin}{micro:06d}{to_id}{id_}{to_trace}{trace}{to_duration}{access.seconds:.6f}{end}"

    def learn(self, access: Access, fields: AccessFields, line: Callable[[AccessFields], str]) -> None:
        """Lines like the one with these fields need not be made again, unless something had to be hidden."""
        served = access.served
        told = (fields.item, fields.method, fields.principal)
        asked = (served.item, served.method, "" if served.principal is None else served.principal.id)
        is_plain = served.error is None and served.route and served.request_id and told == asked
        if is_plain and int(access.at) == self._second:
            self._known[_likeness(access)] = _template(fields, line)


def _template(fields: AccessFields, line: Callable[[AccessFields], str]) -> Template:
    """The parts around microseconds, id, trace and duration; the whole seconds are those of all lines."""
    fields.timestamp = f"{fields.timestamp[: len('2026-07-28T00:00:00.')]}{PART}Z"
    fields.request_id = fields.trace_id = fields.span_id = MARK
    fields.duration = LENGTH
    begin, rest = line(fields).split(PART)
    to_id, rest = rest.split(MARK, 1)
    to_trace, rest = rest.split(f'"trace_id":"{MARK}","span_id":"{MARK}",')
    to_duration, end = rest.split(msgspec.json.encode(LENGTH).decode())
    return begin, to_id, to_trace, to_duration, end


def _likeness(access: Access) -> Likeness:
    served = access.served
    scope, client, principal = served.scope, served.scope.get("client"), served.principal
    return (
        access.phase,
        served.status,
        served.route,
        served.method,
        served.item,
        served.upstream,
        served.server,
        scope["method"],
        client[0] if client else None,
        None if principal is None else principal.id,
    )
