"""Whether a value fits a schema. That is looked at in the event loop, so only what cannot take long is looked at."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jsonschema_rs
import msgspec

from toolway_rest.writing import LISTS, MAPS, SINGLE

MOST_LOOKS = 1_000
"""At one place of a value, with what is around it: references to references to references look many times."""
MOST_WORK = 20_000_000
"""Looks times bytes of the value; that takes half a second at most."""
MOST_TELLING = 10_000
"""Looks, to tell what is wrong with a value of a schema that refers to itself."""


class Fitting(msgspec.Struct, frozen=True):
    """A schema that values can be held against."""

    validator: jsonschema_rs.Draft202012Validator
    looks: int
    is_recursive: bool

    def mismatch(self, value: Any) -> str:
        """See `mismatch`. Only to tell what is wrong the library looks at a place again and again."""
        if self.looks * len(msgspec.json.encode(value)) > MOST_WORK or self.validator.is_valid(value):
            return ""
        if self.is_recursive and self.looks ** _depth(value) > MOST_TELLING:
            return "see its schema"
        for fault in self.validator.iter_errors(value):
            path = "/".join(map(str, fault.instance_path))
            return f"{path or 'it'}: {fault.message[:300]}"
        return ""


def mismatch(schema: bytes, value: Any) -> str:
    """What is wrong with a value; empty when nothing is, or it cannot be told: what is too much work is not done."""
    fitting = _fitting(schema)
    if fitting is None:
        return ""
    try:
        return fitting.mismatch(value)
    except (ValueError, TypeError, RecursionError):
        return "it holds something that cannot be checked"


@lru_cache(maxsize=256)
def _fitting(schema: bytes) -> Fitting | None:
    """Patterns are matched in linear time; None for a schema that cannot be used, or not in time."""
    try:
        decoded = msgspec.json.decode(schema)
        looks, is_recursive = _looks(decoded)
        if looks > MOST_LOOKS:
            return None
        options = jsonschema_rs.RegexOptions()
        validator = jsonschema_rs.Draft202012Validator(decoded, pattern_options=options, offline=True)
        return Fitting(validator, looks, is_recursive)
    except (ValueError, TypeError, RecursionError):
        return None


def _looks(root: dict[str, Any]) -> tuple[int, bool]:
    """How often one place of a value is looked at, at most, and whether the schema refers to itself."""
    definitions = root.get("$defs", {})
    known: dict[str, int | None] = {}
    of: dict[str, Callable[[Any], int]]

    def total(schema: Any) -> int:
        if not isinstance(schema, dict):
            return 1
        return 1 + sum(of[key](value) for key, value in schema.items() if key in of)

    def referred(reference: str) -> int:
        name = reference.rpartition("/")[2]
        if name not in known:
            known[name] = None
            known[name] = total(definitions.get(name))
        if (looks := known[name]) is None:
            circles.append(name)
            return 1
        return looks

    circles: list[str] = []
    of = {
        "$ref": referred,
        **dict.fromkeys(SINGLE, total),
        **dict.fromkeys(LISTS, lambda schemas: sum(map(total, schemas))),
        **dict.fromkeys(MAPS, lambda schemas: sum(map(total, schemas.values()))),
        "properties": lambda schemas: max(map(total, schemas.values()), default=0),
    }
    return total(root), bool(circles)


def _depth(value: Any) -> int:
    """Of lists and objects in each other."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, parts), default=0)
