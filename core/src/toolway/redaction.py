"""Keeps resolved secrets out of the logs, whatever wrote the line."""

from __future__ import annotations

import logging
from collections.abc import Callable

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
    """The text with every given value replaced."""
    for secret in secrets:
        if len(secret) >= SHORTEST and secret in text:
            text = text.replace(secret, REDACTED)
    return text
