"""Keywords of schemas whose values are kept as they are: only when they are what JSON Schema 2020-12 wants.

One wrong value would make the whole schema of a tool useless: clients refuse it, and nothing checks the arguments.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jsonschema_rs

TYPES = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})
PROSE = frozenset({"title", "description", "default", "deprecated"})

MANY = 64
"""So many values of an `enum` are dropped before a schema has to lose its depth."""

LONGEST = 2000
"""Characters of an expression."""

_NOT_EVERYWHERE = re.compile(r"\(\?[A-Za-z<P-]|\\[AzZ]|\[\[:")
"""What expressions have in some languages and not in JavaScript's (ECMA-262), besides groups."""


def kept(keyword: str, value: Any, *, terse: bool) -> Any:
    """The value, or None when it is left out: it is not as it has to be, or prose that is not wanted."""
    if terse and (keyword in PROSE or (keyword == "enum" and isinstance(value, list) and len(value) > MANY)):
        return None
    return value if PLAIN[keyword](value) else None


def is_pattern(value: Any) -> bool:
    """Whether an expression means the same everywhere, and can be matched in linear time."""
    return isinstance(value, str) and len(value) < LONGEST and not _NOT_EVERYWHERE.search(value) and _is_linear(value)


@lru_cache(maxsize=4096)
def _is_linear(pattern: str) -> bool:
    try:
        jsonschema_rs.Draft202012Validator({"pattern": pattern}, pattern_options=jsonschema_rs.RegexOptions())
    except ValueError:
        return False
    return True


def _is_type(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(each, str) and each in TYPES for each in value)
    return isinstance(value, str) and value in TYPES


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return _is_number(value) and 0 <= value < 2**53 and value == int(value)


def _is_bound(value: Any) -> bool:
    """A number, or what OpenAPI 3.0 has instead."""
    return isinstance(value, int | float)


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


PLAIN: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("title", "description", "format", "contentEncoding", "contentMediaType"), _is_text),
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minContains", "maxContains"), _is_count),
    **dict.fromkeys(("minProperties", "maxProperties"), _is_count),
    **dict.fromkeys(("minimum", "maximum"), _is_number),
    **dict.fromkeys(("exclusiveMinimum", "exclusiveMaximum"), _is_bound),
    **dict.fromkeys(("uniqueItems", "deprecated"), lambda value: isinstance(value, bool)),
    **dict.fromkeys(("const", "default"), lambda value: value is not None),
    "type": _is_type,
    "enum": lambda value: isinstance(value, list) and bool(value),
    "pattern": is_pattern,
    "multipleOf": lambda value: _is_number(value) and value > 0,
    "required": _are_names,
    "dependentRequired": lambda value: isinstance(value, dict) and all(map(_are_names, value.values())),
}
