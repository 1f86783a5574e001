"""References: `kv/path#field`, and `path#text with {field}` for values that are made of several fields."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from toolway.plugin import SecretUnavailable

PLACE = re.compile(r"\{([\w.\-]+)(:url)?\}")
FORBIDDEN = re.compile(r"[\x00-\x1f\x7f?%\\*]")
EXAMPLE = "vault:kv/path#field"


class Reference(msgspec.Struct, frozen=True):
    """A path in Vault and one of its fields, or a text with `{field}` in places; `{field:url}` is percent-encoded."""

    path: str
    field: str

    def value(self, data: Mapping[str, Any]) -> str:
        """What it refers to. Raises SecretUnavailable when a field is missing."""
        if "{" not in self.field:
            return self._field(data, self.field)
        return PLACE.sub(lambda place: self._placed(data, place), self.field)

    def values(self, data: Mapping[str, Any]) -> list[str]:
        """The fields that its value is made of, each as it is and as it looks in the value."""
        if "{" not in self.field:
            return [self.value(data)]
        places = list(PLACE.finditer(self.field))
        return [found for place in places for found in (self._field(data, place[1]), self._placed(data, place))]

    def _placed(self, data: Mapping[str, Any], place: re.Match[str]) -> str:
        value = self._field(data, place[1])
        return quote(value, safe="") if place[2] else value

    def _field(self, data: Mapping[str, Any], name: str) -> str:
        value = data.get(name)
        if value is None:
            raise SecretUnavailable(f"vault:{self.path} has no field {name!r}; correct the reference or add the field")
        return value if isinstance(value, str) else json.dumps(value)


def parsed(text: str) -> Reference:
    """The reference after `vault:`. Raises SecretUnavailable when it is malformed."""
    path, separator, field = text.partition("#")
    if not (separator and field and "/" in path):
        raise SecretUnavailable(f"vault:{path} names no path and field; write it as {EXAMPLE}")
    if FORBIDDEN.search(path) or any(part in ("", ".", "..") for part in path.split("/")):
        raise SecretUnavailable(f"the path {path!r} of a vault: reference is malformed; write it as {EXAMPLE}")
    return Reference(path, field)
