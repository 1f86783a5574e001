"""Where something stands in a file."""

from __future__ import annotations

from typing import Any


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every member of every table and list, as the table or list and the key."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [place for key in keys for place in ((value, key), *places(value[key]))]
