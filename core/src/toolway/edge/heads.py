"""Heads of messages that were read before: the same bytes mean the same, so no parser has to read them again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

MOST = 4
"""Heads that are remembered: an agent sends few different ones, a server one in a second, for its Date."""
LARGE = 16 * 1024
"""Bytes; for longer messages it is not worth while, and they would be copied."""
LONGEST = 4 * 1024
"""Bytes of a head that is remembered."""
DIGITS = len(str(LARGE))
IN_VAIN = 16
"""So many heads are learned without one that comes again; from then on it is tried with one of as many."""
_LINE = b"\r\ncontent-length:"
_END = b"\r\n\r\n"


class Heads(Generic[T]):
    """Heads of HTTP/1.1 that may differ in their Content-Length, and what is known of each.

    Only for a message that begins where the data do and ends where they do; all else is for the parser, which judged
    the first of the heads that are the same (RFC 9112 sections 2.2 and 6.3).
    """

    def __init__(self) -> None:
        self._known: list[tuple[bytes, bytes, int, T]] = []  # before the digits, behind them, where they are
        self._learned = 0

    def find(self, data: bytes) -> tuple[T, bytes, bytes] | None:
        """What is known of the head, its Content-Length and the body, if the data are a whole message with such."""
        if len(data) > LARGE:
            return None
        for before, behind, start, known in self._known:
            if data.startswith(before):
                length, found, body = data[start:].partition(behind)
                if found and len(length) <= DIGITS and length.isdigit() and len(body) == int(length):
                    self._learned = 0
                    return known, length, body
        return None

    def learn(self, data: bytes, size: int, make: Callable[[], T]) -> None:
        """These data were a message with a body of `size` bytes; `make` tells what is to be known of its head."""
        self._learned += 1
        if self._learned > IN_VAIN and self._learned % IN_VAIN:
            return
        head = data[: len(data) - size]
        if len(head) > LONGEST or len(data) > LARGE or head.find(_END) + len(_END) != len(head):
            return  # it would not be found, or something else than its length has framed it, or stood before it
        line = head.lower().find(_LINE)
        digits = b"%d" % size
        start = head.find(digits, line + len(_LINE))
        stop = start + len(digits)
        if line < 0 or head[line + len(_LINE) : start].strip(b" \t") or not head.startswith(b"\r", stop):
            return
        before, behind = head[:start], head[stop:]
        others = [each for each in self._known if each[:2] != (before, behind)]
        self._known = [(before, behind, start, make()), *others[: MOST - 1]]
