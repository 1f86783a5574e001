"""Expressions of RE2, those of the configuration too."""

from __future__ import annotations

from typing import Any

import re2  # type: ignore[import-untyped]

from toolway.plugin import ConfigError
from toolway_masking.values import REDACTED

LONGEST = 1_000
"""Most characters of an expression."""


def checked(name: str, expression: str) -> str:
    """An expression of the configuration, if it can be used. Raises ConfigError."""
    where = f"plugins.masking.patterns.{name}"
    if len(expression) > LONGEST:
        raise ConfigError(f"{where} has {len(expression)} characters; {LONGEST} are the most, so write several")
    try:
        found = compiled(expression)
    except re2.error as error:
        what = error.args[0].decode() if isinstance(error.args[0], bytes) else error.args[0]
        raise ConfigError(
            f"{where} is no expression of RE2: {what}; it has no lookaround and no references to groups, see "
            "https://github.com/google/re2/wiki/Syntax"
        ) from None
    if found.search("") is not None or found.search(REDACTED) is not None:
        raise ConfigError(f"{where} matches an empty text or {REDACTED} itself; let it begin with what is special")
    return f"(?:{expression})"


def compiled(expression: str) -> Any:
    """For use in any thread."""
    options = re2.Options()
    options.log_errors = False
    return re2.compile(expression, options)
