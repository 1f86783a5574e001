"""Heads of requests that were read before: the same bytes mean the same, so no parser has to read them again."""

from __future__ import annotations

from typing import Any, NamedTuple

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT

from toolway.hookspecs.serving import KNOWN, WHOLE, HeaderList

MOST = 4
"""Heads that a connection remembers: an agent sends few different ones."""
DIGITS = 5
"""Most digits of a Content-Length: larger bodies do not come in one piece."""
IN_VAIN = 16
"""So many heads are learned without one that comes again; from then on it is tried with one of as many."""
_LENGTH = b"content-length"
_LINE = b"\r\n%b:" % _LENGTH
_END = b"\r\n\r\n"


class Known(NamedTuple):
    """A head: its bytes before the digits of Content-Length and behind them, its scope, and which header that is."""

    before: bytes
    behind: bytes
    scope: dict[str, Any]
    headers: HeaderList
    place: int


class Heads:
    """The heads that came on one connection, which may differ in their Content-Length.

    Only for a request that begins where the data do and ends where they do; all else is for the parser, which judged
    the first of the heads that are the same (RFC 9112 sections 2.2 and 6.3).
    """

    def __init__(self) -> None:
        self._known: list[Known] = []
        self._learned = 0

    def find(self, data: bytes) -> tuple[dict[str, Any], bytes] | None:
        """Scope and body of the request, if its head is known and the data are all of it."""
        for before, behind, scope, headers, place in self._known:
            start = len(before)
            stop = data.find(b"\r", start, start + DIGITS + 1)
            if stop < 0 or not (data.startswith(before) and data.startswith(behind, stop)):
                continue
            length, end = data[start:stop], stop + len(behind)
            if length.isdigit() and len(data) == end + int(length):
                self._learned = 0
                own = headers.copy()
                own[place] = _LENGTH, length
                return {**scope, "headers": own}, data[end:]
        return None

    def learn(self, data: bytes, size: int, scope: dict[str, Any]) -> None:
        """These data were a request with a body of `size` bytes."""
        self._learned += 1
        if self._learned > IN_VAIN and self._learned % IN_VAIN:
            return
        head = data[: len(data) - size]
        if head.find(_END) + len(_END) != len(head) or size > HIGH_WATER_LIMIT:
            return  # something else than its length has framed it, or stood before it
        headers: HeaderList = scope["headers"]
        place = next((place for place, (name, _) in enumerate(headers) if name == _LENGTH), -1)
        line = head.lower().find(_LINE) + len(_LINE)
        digits = b"%d" % size
        start = head.find(digits, line)
        stop = start + len(digits)
        if place < 0 or head[line:start].strip(b" \t") or not head.startswith(b"\r", stop):
            return
        common = {name: value for name, value in scope.items() if name != WHOLE}
        known = Known(head[:start], head[stop:], {**common, KNOWN: {}}, [*headers], place)
        self._known = [known, *self._known[: MOST - 1]]
