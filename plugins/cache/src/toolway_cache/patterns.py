"""Patterns over names: `*` matches anything, everything else itself."""

from __future__ import annotations

import re
from collections.abc import Iterable


def compiled(patterns: Iterable[str]) -> re.Pattern[str]:
    """What `fullmatch`es each name that one of the patterns matches."""
    return re.compile("|".join(re.escape(each).replace(r"\*", ".*") for each in patterns), re.DOTALL)
