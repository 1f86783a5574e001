"""Turns what happened into entries: without secrets, of bounded size, and of characters that every database keeps."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Collection
from typing import Any

import msgspec

from toolway_audit.record import Entry, timestamp

LONGEST = 1024
"""Characters of a text; longer ones are cut."""
LARGEST = 64 * 1024
"""Bytes of a JSON value; of larger ones only size and SHA-256 are kept."""
LEFT_OUT = "[left out]"
SECRET_NAMES = ("password", "passwd", "secret", "token", "api_key", "apikey", "private_key", "authorization", "cookie")

Redact = Callable[..., str]


class Event(msgspec.Struct):
    """What happened, as it was seen; `at` is Unix seconds, the last three are JSON values."""

    at: float
    action: str
    object: str
    outcome: str
    actor: str = ""
    credential: str = ""
    address: str = ""
    request_id: str = ""
    before: Any = None
    after: Any = None
    details: Any = None


class Scribe:
    """Writes entries of one node. `schemes` are those of secret references, which are no secrets."""

    def __init__(self, node: str, redact: Redact, schemes: Callable[[], Collection[str]]) -> None:
        self._node = node
        self._redact = redact
        self._schemes = schemes

    def entry(self, event: Event) -> Entry:
        """What is kept of an event."""
        return Entry(
            at=timestamp(event.at),
            node=self._node,
            actor=self._text(event.actor),
            credential=self._text(event.credential),
            address=_clean(event.address),
            request_id=_clean(event.request_id),
            action=_clean(event.action),
            object=self._text(event.object),
            outcome=event.outcome,
            before=self._json(event.before),
            after=self._json(event.after),
            details=self._json(event.details),
        )

    def _text(self, text: str) -> str:
        return _clean(self._redact(text)) if text else ""

    def _json(self, value: Any) -> str:
        if value is None:
            return "null"
        text = json.dumps(self._without_secrets(msgspec.to_builtins(value)), sort_keys=True, separators=(",", ":"))
        if len(text) > LARGEST:
            return json.dumps({"sha256": hashlib.sha256(text.encode()).hexdigest(), "size": len(text)})
        return text

    def _without_secrets(self, value: Any, key: str | None = None) -> Any:
        """The value with every text redacted; what has the name of a secret and is no reference is left out."""
        if isinstance(value, dict):
            return {
                _valid(self._redact(str(name))): self._without_secrets(each, str(name)) for name, each in value.items()
            }
        if isinstance(value, list | tuple):
            return [self._without_secrets(each, key) for each in value]
        if isinstance(value, float) and not math.isfinite(value):
            return str(value)
        if not isinstance(value, str):
            return value
        if key is not None and _is_secret(key) and not self._is_reference(value):
            return LEFT_OUT
        return _valid(self._redact(value, key))

    def _is_reference(self, text: str) -> bool:
        scheme, colon, _ = text.partition(":")
        return bool(colon) and scheme != "literal" and scheme in self._schemes()


def _is_secret(key: str) -> bool:
    name = key.lower().replace("-", "_")
    return name.endswith(SECRET_NAMES)


def _clean(text: str) -> str:
    """Without what databases refuse, and cut."""
    return _valid(text.replace("\0", "\ufffd"))[:LONGEST]


def _valid(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
