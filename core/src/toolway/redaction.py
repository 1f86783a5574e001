"""Keeps resolved secrets out of the logs, whatever wrote the line."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from itertools import chain, groupby

from toolway.hookspecs.telemetry import Redactor

REDACTED = "[redacted]"
SHORTEST = 6
"""Shorter values are not replaced: they would blot out ordinary words."""
FEW = 100
"""So many are looked for one by one, which is what most gateways need."""


class Redaction:
    """Removes what is known to be secret, then what the redactors of plugins see; if one of them fails, everything."""

    def __init__(self, known: Callable[[], frozenset[str]]) -> None:
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
        self._inner, self._redact = inner, redaction

    def format(self, record: logging.LogRecord) -> str:
        """The line without secrets; of one that cannot be made nothing is told, for `logging` would tell all of it."""
        try:
            return self._redact(self._inner.format(record))
        except Exception as error:  # noqa: BLE001 - of whatever is to be logged
            return f"[redacted: a line of {record.name} failed with {type(error).__name__}]"


def redact(text: str, secrets: frozenset[str]) -> str:
    """The text with every given value replaced, as it is and as it looks inside of a quoted text.

    Of many values only those are looked for whose beginning is in the text: the time is that for the text.
    """
    forms, starts = _forms(secrets)
    if len(forms) > FEW:
        found = starts.keys() & {text[at : at + SHORTEST] for at in range(len(text))}
        forms = sorted(chain.from_iterable(starts[each] for each in found), key=len, reverse=True)
    for form in forms:
        text = text.replace(form, REDACTED)
    return text


@lru_cache(8)
def _forms(secrets: frozenset[str]) -> tuple[Sequence[str], Mapping[str, Sequence[str]]]:
    """Every secret, and what `repr` and JSON make of it and of each other; the longest first, and by beginnings."""
    forms = {form for secret in secrets if len(secret) >= SHORTEST for form in _escaped(secret)}
    starts = {start: [*found] for start, found in groupby(sorted(forms), lambda form: form[:SHORTEST])}
    return sorted(forms, key=len, reverse=True), starts


@lru_cache(16_384)
def _escaped(secret: str) -> Collection[str]:
    found = {secret}
    for _ in range(3):  # texts in texts: a document, in the `repr` of an error, in a line of JSON
        for text in [*found]:
            found |= {repr(text)[1:-1], repr(f'"{text}')[2:-1], repr(text.encode(errors="replace"))[2:-1]}
            found |= {json.dumps(text, ensure_ascii=is_ascii)[1:-1] for is_ascii in (True, False)}
    return found
