"""Glob patterns over names, where only `*` is special and matches anything, `/` included."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable


def globs(patterns: Iterable[str]) -> re.Pattern[str]:
    """One expression for all patterns, which does not backtrack; no pattern at all matches nothing."""
    literal = (re.sub(r"([\[?])", r"[\1]", pattern) for pattern in patterns)
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in literal) or r"(?!)")
