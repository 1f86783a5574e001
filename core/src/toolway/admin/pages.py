"""Cursor pagination of sorted lists: pages neither repeat nor skip when objects come and go meanwhile."""

from __future__ import annotations

import base64
import binascii
import bisect
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from toolway.errors import InvalidInput


class PageQuery(BaseModel):
    """Which part of a list."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(100, ge=1, le=500, description="Objects per page.")
    cursor: str = Field("", max_length=4096, description="`next_cursor` of the page before.")


def page(objects: Mapping[str, Any], query: PageQuery) -> dict[str, Any]:
    """The page of `objects`, by sort key, that the query asks for; raises InvalidInput for a cursor of no list."""
    keys = sorted(objects)
    start = bisect.bisect_right(keys, _opened(query.cursor)) if query.cursor else 0
    chosen = keys[start : start + query.limit]
    more = start + query.limit < len(keys)
    return {"items": [objects[key] for key in chosen], "next_cursor": _cursor(chosen[-1]) if more else None}


def _cursor(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode("utf-8", "surrogatepass")).decode()


def _opened(cursor: str) -> str:
    try:
        return base64.b64decode(cursor.encode("ascii"), altchars=b"-_", validate=True).decode("utf-8", "surrogatepass")
    except (binascii.Error, UnicodeError):
        raise InvalidInput("cursor is not one that this API gave; begin without it") from None
