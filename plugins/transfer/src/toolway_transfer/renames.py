"""Objects that get another name, and what refers to them in the same document."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

Renamed = Mapping[str, Mapping[str, str]]
"""New names by collection and old name."""

LONGEST = 48
PREFIXES = {"users": "user:", "service-accounts": "service:", "teams": "team:"}
"""How others refer to them: `owner = "team:ops"`."""


def free_name(name: str, taken: Collection[str]) -> str:
    """The first of `name-2`, `name-3` and so on that is free."""
    number = 2
    while (found := f"{name[: LONGEST - len(str(number)) - 1]}-{number}") in taken:
        number += 1
    return found


def follow(kind: str, value: Any, renamed: Renamed) -> Any:
    """An object of that collection with references to the new names."""
    texts = {
        prefix + old: prefix + new for other, prefix in PREFIXES.items() for old, new in renamed.get(other, {}).items()
    }
    value = _exact(value, texts) if texts else value
    if kind == "servers" and "upstreams" in renamed:
        value = _leading(value, {f"{old}/": f"{new}/" for old, new in renamed["upstreams"].items()})
    if kind == "bindings" and value.get("role") in renamed.get("roles", {}):
        value = {**value, "role": renamed["roles"][value["role"]]}
    return value


def _exact(value: Any, texts: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {texts.get(key, key): _exact(entry, texts) for key, entry in value.items()}
    if isinstance(value, list):
        return [_exact(entry, texts) for entry in value]
    return texts.get(value, value) if isinstance(value, str) else value


def _leading(value: Any, beginnings: Mapping[str, str]) -> Any:
    """Patterns and canonical names, which begin with the upstream."""
    if isinstance(value, dict):
        return {_moved(key, beginnings): _leading(entry, beginnings) for key, entry in value.items()}
    if isinstance(value, list):
        return [_leading(entry, beginnings) for entry in value]
    return _moved(value, beginnings) if isinstance(value, str) else value


def _moved(text: str, beginnings: Mapping[str, str]) -> str:
    head, slash, rest = text.partition("/")
    return beginnings.get(head + slash, head + slash) + rest
