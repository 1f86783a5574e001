"""How long fields and lines may be, and characters that a line must not have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

FIELD = 1_024
LINE = 16 * 1_024
TRACE = 6 * 1_024
MOST_FIELDS = 32
READ = 64 * 1_024
"""So much of a text is looked at at all, in characters."""

JSON_ESCAPES = {number: f"\\u{number:04x}" for number in (*range(0x7F, 0xA0), 0x2028, 0x2029)}
"""Control characters that JSON allows in a string, and some terminals and readers of lines take for commands."""
TEXT_ESCAPES = {
    number: f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"
    for number in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)
}

Redact = Callable[..., str]


def shortened(text: str, limit: int, redact: Redact) -> str:
    """The beginning of a text; what may be cut in the middle of a secret is redacted before."""
    if len(text) <= limit:
        return text
    known = redact(text[:READ])
    if len(text) > READ and len(known) <= limit:
        return "…"  # nearly all of it was secret, and what is left may be half of one
    return known if len(known) <= limit else known[: limit - 1] + "…"


def ending(text: str, limit: int, redact: Redact) -> str:
    """The end of a traceback, which says most, and its first line."""
    if len(text) <= limit:
        return text
    first, _, rest = text.partition("\n")
    known = redact(rest[-READ:])
    cut = known[-limit:].partition("\n")[2] or known[-limit:]
    if len(rest) > READ and len(known) <= limit:
        cut = known.partition("\n")[2]  # before it is what may be half of a secret
    return f"{shortened(first, 100, redact)}\n…\n{cut}"


def simple(value: Any, limit: int, redact: Redact) -> Any:
    """Something that JSON has."""
    if value is None or isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < 1 << 63):
        return value
    return shortened(value if isinstance(value, str) else str(value), limit, redact)
