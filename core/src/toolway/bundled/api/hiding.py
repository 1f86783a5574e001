"""What nobody is shown of an object: credentials that are in its settings themselves."""

from __future__ import annotations

import re
from typing import Any

from toolway.hookspecs.definitions import HIDDEN

_VALUES = ("sealed:", "literal:")
_USERINFO = re.compile(r"(?<=://)[^\s/?#:]*+:[^\s/?#]*@")


def hidden(value: Any) -> Any:
    """A JSON value with every credential hidden that is in the value itself or in a URL, for whoever reads it."""
    if isinstance(value, dict):
        return {key: hidden(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [hidden(entry) for entry in value]
    if not isinstance(value, str):
        return value
    return HIDDEN if value.startswith(_VALUES) else _USERINFO.sub("[redacted]@", value)
