"""What a server calls its items: naming policies, aliases, collisions and the gateway's own form of resource URIs."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Literal
from urllib.parse import quote, unquote

import msgspec

from toolway.hookspecs.definitions import ServerSettings
from toolway.hookspecs.routing import ItemKind

LONGEST = 64
"""Characters of an exposed name: what the function-calling interfaces of language models accept."""

_FOREIGN = re.compile(r"[^A-Za-z0-9_.-]")
_OWN_URI = re.compile(r"toolway://([a-z0-9-]+)/(.*)", re.DOTALL)
_EXPRESSION = re.compile(r"(\{[^{}]*\})")


class Collision(msgspec.Struct, frozen=True):
    """Items of one server that want the same name, as canonical names such as `ServerA/toolX`.

    `resolved` tells what became of them: left out (`error`), prefixed (`prefix`), or listed in the gateway's own form
    (`uri`).
    """

    server: str
    kind: ItemKind
    name: str
    items: tuple[str, ...]
    resolved: Literal["error", "prefix", "uri"]


def fit(text: str, *, marked: bool = False) -> str:
    """A name of at most 64 of `[A-Za-z0-9_.-]`; one that is cut (or `marked`) ends in a hash of the whole text."""
    clean = _FOREIGN.sub("_", text) or "_"
    if len(clean) <= LONGEST and not marked:
        return clean
    mark = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    return f"{clean[: LONGEST - len(mark) - 1]}_{mark}"


def clashes(names: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    """The names that more than one key has, each with its keys, all sorted."""
    groups: dict[str, list[str]] = defaultdict(list)
    for key, name in names.items():
        groups[name].append(key)
    return [(name, sorted(keys)) for name, keys in sorted(groups.items()) if len(keys) > 1]


def name_items(
    settings: ServerSettings, kind: ItemKind, canonicals: Iterable[str]
) -> tuple[dict[str, str], list[Collision]]:
    """Give every tool or prompt its exposed name by the server's policy.

    Returns exposed names by canonical name, without the items that a collision leaves out, and all collisions.
    """
    wanted = {canonical: _wanted(settings, canonical) for canonical in canonicals}
    aliases = {name: alias for name in wanted if (alias := _alias(settings, name))}
    names = {canonical: aliases.get(canonical) or fit(text) for canonical, text in wanted.items()}
    for _, group in clashes(names):
        names.update({key: fit(wanted[key], marked=True) for key in group if _is_altered(key, names, wanted, aliases)})
    collisions: list[Collision] = []
    if settings.naming == "plain" and settings.on_collision == "prefix":
        for name, group in clashes(names):
            collisions.append(Collision(settings.name, kind, name, tuple(group), "prefix"))
            names.update({key: fit(_prefixed(key)) for key in group if key not in aliases})
    for name, group in clashes(names):
        collisions.append(Collision(settings.name, kind, name, tuple(group), "error"))
        for canonical in group:
            del names[canonical]
    return names, collisions


def _alias(settings: ServerSettings, canonical: str) -> str | None:
    override = settings.items.get(canonical)
    return override.alias if override else None


def _wanted(settings: ServerSettings, canonical: str) -> str:
    return _prefixed(canonical) if settings.naming == "prefix" else canonical.partition("/")[2]


def _prefixed(canonical: str) -> str:
    upstream, _, own = canonical.partition("/")
    return f"{upstream}__{own}"


def _is_altered(key: str, names: Mapping[str, str], wanted: Mapping[str, str], aliases: Mapping[str, str]) -> bool:
    """Whether a clash is due to replaced characters, not to what the upstreams called their items."""
    return key not in aliases and names[key] != wanted[key]


def own_uri(upstream: str, uri: str) -> str:
    """The gateway's own form of a URI or URI template; expressions `{…}` stay as they are (RFC 6570)."""
    parts = _EXPRESSION.split(uri)
    encoded = "".join(part if at % 2 else quote(part, safe="") for at, part in enumerate(parts))
    return f"toolway://{upstream}/{encoded}"


def parse_own_uri(uri: str) -> tuple[str, str] | None:
    """Upstream and original URI of the own form, or None when `uri` has another form."""
    found = _OWN_URI.fullmatch(uri)
    return (found[1], unquote(found[2])) if found else None


def unexpand(upstream: str, template: str, uri: str) -> str | None:
    """The original of `uri`, which a client expanded from the own form of `template`; None when it was not.

    What the client put in for expressions stays as it is, only the literal parts are decoded.
    """
    parts = _EXPRESSION.split(template)
    literals = [quote(part, safe="") for part in parts[::2]]
    at = len(f"toolway://{upstream}/{literals[0]}")
    if not uri.startswith(f"toolway://{upstream}/{literals[0]}"):
        return None
    original = [parts[0]]
    for position, literal in enumerate(literals[1:], start=1):
        is_last = position == len(literals) - 1
        end = uri.rfind(literal, at) if is_last else uri.find(literal, at)
        if end < 0 or (is_last and end + len(literal) != len(uri)):
            return None
        original += [uri[at:end], parts[2 * position]]
        at = end + len(literal)
    return "".join(original) if at == len(uri) else None
