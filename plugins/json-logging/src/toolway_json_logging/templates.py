"""Lines of the access log that are nearly the same: one is made with care, the others of a second are filled in."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
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


class Templates:
    """Templates of the second that it is; what is secret may be different in the next one. Belongs to one thread.

    Ids of clients are never filled in: they may hold anything, and are redacted line by line.
    """

    def __init__(self) -> None:
        self._second = 0
        self._known: dict[Likeness, str] = {}

    def fill(self, ended: Iterable[Served], make: Callable[[Served], str | None]) -> list[str]:
        """Their lines; `make` has to make those that are like none of this second, and may keep them."""
        lines = []
        for served in ended:
            micro = int((served.began + served.seconds - self._second) * 1e6)
            template = self._known.get(_likeness(served)) if 0 <= micro < 1_000_000 else None
            if template is not None and served.error is None and HEADER not in served.fields:
                lines.append(template % (micro, served.request_id, served.trace_id, served.span_id, served.seconds))
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
        ids = served.trace_id + served.span_id
        is_plain = served.error is None and served.route and served.request_id and told == asked
        is_plain = is_plain and (ids.isalnum() or not ids)
        if is_plain and int(access.at) == self._second:
            self._known[_likeness(served)] = _template(fields, line)


def is_short(served: Served) -> bool:
    """Whether it takes next to no time to look for secrets in what came from outside."""
    return len(served.request_id) + len(served.item) + len(served.method) + len(served.scope["path"]) <= SHORT


def _template(fields: AccessFields, line: Callable[[AccessFields], str]) -> str:
    """With places for microseconds, ids and duration; the whole seconds are those of all lines."""
    fields.timestamp = f"{fields.timestamp[: len('2026-07-28T00:00:00.')]}{PART}Z"
    is_traced = bool(fields.trace_id)
    fields.request_id = fields.trace_id = fields.span_id = MARK
    fields.duration = LENGTH
    begin, rest = line(fields).replace("%", "%%").split(PART)
    to_id, rest = rest.split(MARK, 1)
    to_trace, rest = rest.split(f'"trace_id":"{MARK}","span_id":"{MARK}",')
    to_duration, end = rest.split(msgspec.json.encode(LENGTH).decode())
    trace = '"trace_id":"%s","span_id":"%s",' if is_traced else "%.0s%.0s"
    return f"{begin}%06d{to_id}%s{to_trace}{trace}{to_duration}%.6f{end}"


def _likeness(served: Served) -> Likeness:
    scope, client, principal = served.scope, served.scope.get("client"), served.principal
    ids = served.trace_id + served.span_id  # whoever sets them should see to it that they are fine
    return (
        served.status,
        served.route,
        served.method,
        served.item,
        served.upstream,
        served.server,
        scope["method"],
        client[0] if client else None,
        None if principal is None else principal.id,
        ids.isalnum() or ids,
    )
