"""What files of other programs have in common: names, placeholders, and shapes that are checked before use."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from toolway.hookspecs.definitions import NAME
from toolway.plugin import InvalidInput
from toolway_transfer.renames import LONGEST, free_name


class Foreign(msgspec.Struct):
    """What a file declares, as our own objects.

    An upstream is the name that it has in the file, the object, its credentials by pointer (none: they are in the
    object), and what is wrong with it.
    """

    source: str
    upstreams: list[tuple[str, dict[str, Any], dict[str, str], str]] = []
    servers: list[dict[str, Any]] = []
    notes: list[str] = []

    def add(self, given: str, read: Callable[[], Mapping[str, Any]]) -> str:
        """One more upstream; what is wrong with it becomes its problem. What it is called here."""
        name = own_name(given, [value["name"] for _, value, _, _ in self.upstreams])
        try:
            value, problem = {"name": name, **read()}, ""
        except InvalidInput as error:
            value, problem = {"name": name}, error.message
        self.upstreams.append((given, value, {}, problem))
        return name


def own_name(given: str, taken: Iterable[str]) -> str:
    """A name of ours that is like it."""
    name = re.sub(r"[^a-z0-9]+", "-", given.lower()).strip("-")[:LONGEST].strip("-")
    name = name if NAME.fullmatch(name) else "imported"
    taken = set(taken)
    return free_name(name, taken) if name in taken else name


def text(table: Mapping[str, Any], member: str, default: str = "") -> str:
    """A member that is a text; raises InvalidInput for anything else."""
    found = table.get(member, default)
    if not isinstance(found, str):
        raise InvalidInput(f"{member} should be a text")
    return found


def texts(table: Mapping[str, Any], member: str) -> list[str]:
    """A member that is a list of texts; raises InvalidInput."""
    found = table.get(member) or []
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise InvalidInput(f"{member} should be a list of texts")
    return found


def text_table(table: Mapping[str, Any], member: str) -> dict[str, str]:
    """A member that is a table of texts; numbers and truth values become texts. Raises InvalidInput."""
    found = table.get(member) or {}
    if not isinstance(found, dict) or not all(isinstance(each, str | int | float) for each in found.values()):
        raise InvalidInput(f"{member} should be a table of texts")
    return {key: str(each).lower() if isinstance(each, bool) else str(each) for key, each in found.items()}


def filled(value: str, pattern: re.Pattern[str], inputs: Mapping[str, str]) -> str:
    """The text with its placeholders replaced; raises InvalidInput that names those without a value."""
    wanted = [match[1] for match in pattern.finditer(value)]
    unknown = sorted({each for each in wanted if each not in inputs})
    if unknown:
        raise InvalidInput(f"it needs a value for {', '.join(unknown)}; give it with --input {unknown[0]}=VALUE")
    return pattern.sub(lambda match: inputs[match[1]], value)
