"""Turns what happened into entries: without secrets, of bounded size, and of characters that every database keeps."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Collection, Sequence
from typing import Any

import msgspec

from toolway_audit.record import Entry, timestamp

LONGEST = 1024
"""Characters of a text; longer ones are cut."""
LARGEST = 64 * 1024
"""Bytes of a JSON value; of larger ones only size and SHA-256 are kept."""
LEFT_OUT = "[left out]"
SECRET_NAMES = ("password", "passwd", "secret", "token", "api_key", "apikey", "private_key", "authorization", "cookie")

_JSON = msgspec.json.Encoder(order="sorted")

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
        if event.before is None and event.after is None and (quick := self._harmless(event)) is not None:
            return quick
        return self._entry(
            event,
            self._text(event.actor),
            ":".join(self._text(each) for each in _parts(event.credential)),
            self._text(event.object),
            *(self._json(each) for each in (event.before, event.after, event.details)),
        )

    def _harmless(self, event: Event) -> Entry | None:
        """The entry, if a look at all of its texts at once shows that nothing has to be redacted: calls are many."""
        texts = event.actor, event.credential, event.object, _JSON.encode(event.details).decode()
        together = "\n".join((texts[0], *_parts(texts[1]), *texts[2:]))
        if len(together) > LONGEST or not together.isascii() or "\0" in together or self._redact(together) != together:
            return None
        return self._entry(event, *texts[:3], "null", "null", texts[3])

    def _entry(self, event: Event, actor: str, credential: str, about: str, *values: str) -> Entry:
        address, request_id, action = _clean(event.address), _clean(event.request_id), _clean(event.action)
        at, outcome = timestamp(event.at), event.outcome
        return Entry(at, self._node, actor, credential, address, request_id, action, about, outcome, *values)

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


def _parts(credential: str) -> Sequence[str]:
    """Kind and id, to be redacted each by itself: together, as in `token:<id>`, they look like a field and a secret."""
    return credential.split(":")


def _clean(text: str) -> str:
    """Without what databases refuse, and cut."""
    return _valid(text.replace("\0", "\ufffd"))[:LONGEST]


def _valid(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
