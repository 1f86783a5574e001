"""Keeps resolved secrets out of the logs, whatever wrote the line."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from functools import lru_cache

REDACTED = "[redacted]"
SHORTEST = 6
"""Shorter values are not replaced: they would blot out ordinary words."""


class RedactingFormatter(logging.Formatter):
    """Formats like the wrapped formatter and replaces every known secret in the finished text, tracebacks included."""

    def __init__(self, inner: logging.Formatter, known: Callable[[], tuple[str, ...]]) -> None:
        super().__init__()
        self._inner = inner
        self._known = known

    def format(self, record: logging.LogRecord) -> str:
        """The line without secrets."""
        return redact(self._inner.format(record), self._known())


def redact(text: str, secrets: tuple[str, ...]) -> str:
    """The text with every given value replaced, as it is and as it looks inside of a quoted text."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= SHORTEST:
            for form in (secret, *_escaped(secret)):
                text = text.replace(form, REDACTED)
    return text


@lru_cache(1024)
def _escaped(secret: str) -> tuple[str, ...]:
    """What `repr` and JSON make of it, where that is something else."""
    forms = (repr(secret)[1:-1], json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1])
    return tuple({form for form in forms if form != secret})
