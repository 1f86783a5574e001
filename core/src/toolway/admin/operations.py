"""Operations of the admin API: what each needs, takes and gives, and what their handlers work with."""

from __future__ import annotations

import bisect
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import msgspec
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import Headers

from toolway.errors import Forbidden, Unauthenticated
from toolway.hookspecs.auth import ANONYMOUS, Principal, Resource

if TYPE_CHECKING:
    from toolway.catalog.catalog import Catalog
    from toolway.hookspecs.system import Entity
    from toolway.plugin.kernel import Database

ANY = "*"
"""The name of the resource when an action is about a whole collection."""

_UNNAMEABLE = re.compile(r"[^a-zA-Z0-9]+")

Phase = Literal["starting", "serving", "draining"]
T = TypeVar("T")
V = TypeVar("V")


@dataclass(frozen=True)
class ReadyCheck:
    """One thing that `/ready` looks at. `check` answers with what is wrong, empty when nothing is.

    A critical one that fails makes the node unready; the others are only told.
    """

    name: str
    check: Callable[[], Awaitable[str]]
    critical: bool = True


@dataclass(frozen=True)
class AdminContext:
    """The parts of one gateway that the admin API works on; the application fills it in.

    `authenticate` gets the request's headers and the client's address and raises Unauthenticated or InvalidInput;
    `authorize` answers for one action on one resource. `plugins` describes installed plugins, each with `name`.
    """

    catalog: Catalog
    store: Database
    entities: Sequence[Entity]
    authenticate: Callable[[Headers, str], Awaitable[Principal]]
    authorize: Callable[[Principal, str, Resource], bool]
    plugins: Callable[[], Sequence[Mapping[str, Any]]]
    phase: Callable[[], Phase]
    checks: Sequence[ReadyCheck] = ()
    version: str = ""


class Incoming(msgspec.Struct, eq=False):
    """A request; `query` and `body` are read after its principal was found to be allowed to ask."""

    context: AdminContext
    headers: Headers
    path: Mapping[str, str]
    principal: Principal = ANONYMOUS
    query: Any = None
    body: Any = None

    @property
    def name(self) -> str:
        """The object named in the path; `ANY` when the path is about a whole collection."""
        return self.path.get("name", ANY)

    def may(self, action: str, name: str) -> bool:
        """Whether the principal may do it on that object."""
        return self.context.authorize(self.principal, action, Resource(name))

    def demand(self, action: str, name: str) -> None:
        """Refuse what the principal may not do.

        Raises:
            Unauthenticated: nobody asks; a credential may help.
            Forbidden: the permission is missing.
        """
        if self.may(action, name):
            return
        if self.principal.kind == "anonymous":
            raise Unauthenticated("a credential is needed here; send 'Authorization: Bearer <token>'")
        raise Forbidden(f"permission {action!r} is needed here", permission=action)


class NoQuery(BaseModel, extra="forbid"):
    """For operations that take no query parameters."""


@dataclass(frozen=True)
class Operation:
    """One method on one path. `permission` None means public; such operations are on the list `PUBLIC`.

    `body`, `query` and `answer` are models. With `filters` the handler itself asks for each object whether the
    principal may see it; a `conditional` one works with `ETag` and `If-Match`.
    """

    method: str
    path: str
    permission: str | None
    handler: Callable[[Incoming], Awaitable[Any]]
    body: Any = None
    query: Any = NoQuery
    answer: Any = None
    success: tuple[int, ...] = (200,)
    filters: bool = False
    conditional: bool = False

    @property
    def id(self) -> str:
        """Unique name, for clients that are made from the OpenAPI document."""
        return _UNNAMEABLE.sub("_", f"{self.method.lower()}{self.path}").strip("_")

    @property
    def summary(self) -> str:
        """What it does: the first line of the handler's docstring."""
        return (self.handler.__doc__ or "").partition("\n")[0]


class PageQuery(NoQuery):
    """Which part of a list."""

    limit: int = Field(100, ge=1, le=500, description="Objects per page.")
    cursor: str = Field("", description="`next_cursor` of the page before.")


class Page(BaseModel, Generic[T]):
    """One page of a list, sorted by name."""

    model_config = ConfigDict(from_attributes=True)

    items: list[T]
    next_cursor: str | None = Field(None, description="For the next page; null on the last one.")


def listing(incoming: Incoming, permission: str, objects: Mapping[str, V], show: Callable[[V], Any]) -> Page[Any]:
    """The page that the query asks for of the objects that the principal may see; each is `show`n.

    Keys sort the objects and begin with their names; what tells equal names apart follows after a line feed. Pages
    neither repeat nor skip when objects come and go meanwhile.

    Raises:
        Forbidden, Unauthenticated: it may see none of them, nor the collection.
    """
    keys = sorted(key for key in objects if incoming.may(permission, key.partition("\n")[0]))
    if not keys:
        incoming.demand(permission, ANY)
    query: PageQuery = incoming.query
    start = bisect.bisect_right(keys, query.cursor) if query.cursor else 0
    chosen = keys[start : start + query.limit]
    is_last = start + query.limit >= len(keys)
    return Page(items=[show(objects[key]) for key in chosen], next_cursor=None if is_last else chosen[-1])
