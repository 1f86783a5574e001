"""Cursor pagination of sorted lists: pages neither repeat nor skip when objects come and go meanwhile."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from toolway.admin.operations import ANY, Incoming

T = TypeVar("T")
V = TypeVar("V")


class PageQuery(BaseModel):
    """Which part of a list."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(100, ge=1, le=500, description="Objects per page.")
    cursor: str = Field("", description="`next_cursor` of the page before.")


class Page(BaseModel, Generic[T]):
    """One page of a list, sorted by name."""

    items: list[T]
    next_cursor: str | None = Field(None, description="For the next page; null on the last one.")


def listing(
    incoming: Incoming, permission: str, objects: Mapping[str, V], query: PageQuery, show: Callable[[V], Any]
) -> Page[Any]:
    """The page that the query asks for of the objects that the principal may see; each is `show`n.

    Keys sort the objects and begin with their names; what tells equal names apart follows after a line feed.

    Raises:
        Forbidden, Unauthenticated: it may see none of them, nor the collection.
    """
    keys = sorted(key for key in objects if incoming.may(permission, key.partition("\n")[0]))
    if not keys:
        incoming.demand(permission, ANY)
    start = bisect.bisect_right(keys, query.cursor) if query.cursor else 0
    chosen = keys[start : start + query.limit]
    is_last = start + query.limit >= len(keys)
    return Page(items=[show(objects[key]) for key in chosen], next_cursor=None if is_last else chosen[-1])
