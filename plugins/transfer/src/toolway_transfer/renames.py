"""Objects that get another name, and what refers to them in the same document."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from toolway.hookspecs.permissions import Permission, Permissions

Renamed = Mapping[str, Mapping[str, str]]
"""New names by collection and old name."""

LONGEST = 48
PREFIXES = {"users": "user:", "service-accounts": "service:", "teams": "team:"}
"""How others refer to them: `owner = "team:ops"`."""
UPSTREAMS = ("upstreams", "prompt-collections")
"""What is an upstream: its name begins those of its items."""
ITEM_AREAS = ("tools", "prompts", "resources", "items")
"""Areas of permissions whose patterns are over names of items."""


def free_name(name: str, taken: Collection[str]) -> str:
    """The first of `name-2`, `name-3` and so on that is free."""
    number = 2
    while (found := f"{name[: LONGEST - len(str(number)) - 1]}-{number}") in taken:
        number += 1
    return found


def follow(kind: str, value: Any, renamed: Renamed) -> Any:
    """An object of that collection with references to the new names."""
    texts = _subjects(renamed)
    value = _exact(value, texts) if texts else value
    if kind == "servers":
        value = _leading(value, _names("tools", renamed))
    if kind == "roles" and isinstance(value.get("permissions"), list):
        value = {**value, "permissions": [_permission(text, renamed) for text in value["permissions"]]}
    if kind == "bindings" and "permission" in value:
        value = {**value, "permission": _permission(value["permission"], renamed)}
    if kind == "bindings" and value.get("role") in renamed.get("roles", {}):
        value = {**value, "role": renamed["roles"][value["role"]]}
    return value


def unclear(kind: str, value: Any, renamed: Renamed) -> Iterator[str]:
    """What an object of that collection says with a `*` that an old name matches, in words: it may mean both."""
    for text, area, pattern in _patterns(kind, value):
        head = pattern.partition("/")[0]
        if "*" not in head or not head.strip("*"):
            continue
        glob = Permissions([Permission("any:name", head)])
        for old, new in _names(area, renamed).items():
            if glob.permit("any:name", old):
                yield f"{kind}/{value['name']}: {text} may mean {old} or {new}, and was left as it is"


def _patterns(kind: str, value: Any) -> Iterator[tuple[str, str, str]]:
    """Each as it is written, the area that it is about, and the pattern over names."""
    if kind == "servers":
        for text in (*_texts(value.get("include")), *_texts(value.get("exclude"))):
            yield text, "tools", text
    given = [value.get("permission")] if kind == "bindings" else value.get("permissions") if kind == "roles" else None
    for text in _texts(given):
        area, _, rest = text.partition(":")
        yield text, area, rest.partition(":")[2]


def _texts(value: Any) -> list[str]:
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []


def _names(area: str, renamed: Renamed) -> Mapping[str, str]:
    """New names by old ones, of what permissions of this area are about."""
    kinds = UPSTREAMS if area in (*ITEM_AREAS, "upstreams") else (area,)
    return {old: new for kind in kinds for old, new in renamed.get(kind, {}).items()}


def _subjects(renamed: Renamed) -> Mapping[str, str]:
    return {
        prefix + old: prefix + new for other, prefix in PREFIXES.items() for old, new in renamed.get(other, {}).items()
    }


def _permission(text: Any, renamed: Renamed) -> Any:
    """Action and pattern, `servers:connect:sales`; whatever else is there is for its collection to refuse."""
    if not isinstance(text, str) or text.count(":") < 2:
        return text
    area, verb, pattern = text.split(":", 2)
    names = _names(area, renamed)
    moved = _moved(pattern, names) if area in ITEM_AREAS else {**_subjects(renamed), **names}.get(pattern, pattern)
    return f"{area}:{verb}:{moved}"


def _exact(value: Any, texts: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {texts.get(key, key): _exact(entry, texts) for key, entry in value.items()}
    if isinstance(value, list):
        return [_exact(entry, texts) for entry in value]
    return texts.get(value, value) if isinstance(value, str) else value


def _leading(value: Any, names: Mapping[str, str]) -> Any:
    """Patterns and canonical names, which begin with the upstream."""
    if isinstance(value, dict):
        return {_moved(key, names): _leading(entry, names) for key, entry in value.items()}
    if isinstance(value, list):
        return [_leading(entry, names) for entry in value]
    return _moved(value, names) if isinstance(value, str) else value


def _moved(text: str, names: Mapping[str, str]) -> str:
    head, slash, rest = text.partition("/")
    return names.get(head, head) + slash + rest if slash else text
