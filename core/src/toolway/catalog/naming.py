"""What a server calls its tools and prompts: naming policies, aliases and collisions."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

from toolway.hookspecs.catalog import Collision
from toolway.hookspecs.definitions import ServerSettings
from toolway.hookspecs.routing import ItemKind

LONGEST = 64
"""Characters of an exposed name: what the function-calling interfaces of language models accept."""

_FOREIGN = re.compile(r"[^A-Za-z0-9_.-]")


def fit(text: str, *, marked: bool = False) -> str:
    """A name of at most 64 of `[A-Za-z0-9_.-]`; one that is cut (or `marked`) ends in a hash of the whole text."""
    clean = _FOREIGN.sub("_", text) or "_"
    if len(clean) <= LONGEST and not marked:
        return clean
    mark = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    return f"{clean[: LONGEST - len(mark) - 1]}_{mark}"


def name_items(
    settings: ServerSettings, kind: ItemKind, canonicals: Iterable[str]
) -> tuple[dict[str, str], list[Collision]]:
    """Give every tool or prompt its exposed name by the server's policy.

    Returns exposed names by canonical name, without the items that a collision leaves out, and all collisions.
    """
    wanted = {each: _prefixed(each) if settings.naming == "prefix" else each.partition("/")[2] for each in canonicals}
    aliases = {key: item.alias for key, item in settings.items.items() if item.alias and key in wanted}
    names = {canonical: fit(text) for canonical, text in wanted.items()} | aliases
    for _, group in _clashes(names):  # those due to replaced characters, not to what the upstreams called their items
        altered = (key for key in group if key not in aliases and names[key] != wanted[key])
        names.update({key: fit(wanted[key], marked=True) for key in altered})
    collisions: list[Collision] = []
    if settings.naming == "plain" and settings.on_collision == "prefix":
        for name, group in _clashes(names):
            collisions.append(Collision(settings.name, kind, name, tuple(group), "prefix"))
            names.update({key: fit(_prefixed(key)) for key in group if key not in aliases})
    for name, group in _clashes(names):
        collisions.append(Collision(settings.name, kind, name, tuple(group), "error"))
        for canonical in group:
            del names[canonical]
    return names, collisions


def _clashes(names: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    """The names that more than one key has, each with its keys, all sorted."""
    groups: dict[str, list[str]] = defaultdict(list)
    for key, name in names.items():
        groups[name].append(key)
    return [(name, sorted(keys)) for name, keys in sorted(groups.items()) if len(keys) > 1]


def _prefixed(canonical: str) -> str:
    return canonical.replace("/", "__", 1)
