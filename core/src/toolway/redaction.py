"""Keeps resolved secrets out of the logs, whatever wrote the line."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from functools import lru_cache

from toolway.hookspecs.telemetry import Redactor

REDACTED = "[redacted]"
SHORTEST = 6
"""Shorter values are not replaced: they would blot out ordinary words."""


class Redaction:
    """Removes what is known to be secret, then what the redactors of plugins see; if one of them fails, everything."""

    def __init__(self, known: Callable[[], tuple[str, ...]]) -> None:
        self._known = known
        self.redactors: Sequence[Redactor] = ()

    def __call__(self, text: str, key: str | None = None) -> str:
        """See `plugin.Kernel.redact`."""
        try:
            text = redact(text, self._known())
            for each in self.redactors:
                text = each.redact(text, key)
        except Exception as error:  # noqa: BLE001 - told in place of the text, which may hold what must not be told
            return f"[redacted: the redactor failed with {type(error).__name__}]"
        return text


class RedactingFormatter(logging.Formatter):
    """Formats like the wrapped formatter and redacts the finished text, tracebacks included."""

    def __init__(self, inner: logging.Formatter, redaction: Callable[[str], str]) -> None:
        super().__init__()
        self._inner = inner
        self._redact = redaction

    def format(self, record: logging.LogRecord) -> str:
        """The line without secrets."""
        return self._redact(self._inner.format(record))


def redact(text: str, secrets: tuple[str, ...]) -> str:
    """The text with every given value replaced, as it is and as it looks inside of a quoted text."""
    for form in _forms(secrets):
        text = text.replace(form, REDACTED)
    return text


@lru_cache(8)
def _forms(secrets: tuple[str, ...]) -> tuple[str, ...]:
    """Every secret, and what `repr` and JSON make of it, the longest first."""
    forms = {form for secret in secrets if len(secret) >= SHORTEST for form in (secret, *_escaped(secret))}
    return tuple(sorted(forms, key=len, reverse=True))


def _escaped(secret: str) -> Sequence[str]:
    return repr(secret)[1:-1], json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]
