"""The REST API: operations that plugins offer, and what their handlers work with."""

from __future__ import annotations

import bisect
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from starlette.requests import Request
from starlette.responses import Response

from toolway.errors import Forbidden, NotFound, Unauthenticated
from toolway.hookspecs.auth import ANONYMOUS, Authenticated, Principal, Resource
from toolway.hookspecs.markers import hookspec

if TYPE_CHECKING:
    from toolway.plugin import Kernel

ANY = "*"
"""The name of the resource when an action is about a whole collection."""

PUBLIC = "public"
"""In place of a permission: everybody, with or without a credential."""

SIGNED_IN = "signed-in"
"""In place of a permission: whoever has a valid credential; the handler keeps everybody to their own objects."""

PROBLEM_TYPE = "application/problem+json"
"""The media type of error answers (RFC 9457)."""

_UNNAMEABLE = re.compile(r"[^a-zA-Z0-9]+")

T = TypeVar("T")
V = TypeVar("V")

Describe = Callable[[str, str], Resource]
"""What a decision about an action on an object is about: its owner and visibility are looked up."""


class Incoming(msgspec.Struct, eq=False):
    """A request; `query` and `body` are read after its principal was found to be allowed to ask.

    `who` tells of its credential.
    """

    request: Request
    allowed: Callable[[Principal, str, Resource], bool]
    describe: Describe
    principal: Principal = ANONYMOUS
    query: Any = None
    body: Any = None
    who: Authenticated = Authenticated(ANONYMOUS)

    @property
    def path(self) -> Mapping[str, str]:
        """The parameters of the path."""
        return self.request.path_params

    @property
    def headers(self) -> Mapping[str, str]:
        """The request's headers, by name in any case."""
        return self.request.headers

    @property
    def name(self) -> str:
        """The object named in the path; `ANY` when the path is about a whole collection."""
        return self.path.get("name", ANY)

    @property
    def address(self) -> str:
        """The client's address; empty when it has none."""
        return self.request.client.host if self.request.client else ""

    def may(self, action: str, name: str | Resource) -> bool:
        """Whether the principal may do it on that object."""
        resource = self.describe(action, name) if isinstance(name, str) else name
        return self.allowed(self.principal, action, resource)

    def demand(self, action: str, name: str | Resource, *, is_new: bool = False) -> None:
        """Refuse what the principal may not do. What it may not even read looks as if it did not exist.

        That something `is_new` is refused whether or not there is one of that name.

        Raises:
            Unauthenticated: nobody asks; a credential may help.
            Forbidden: the permission is missing.
            NotFound: so is the permission to read that object.
        """
        if self.may(action, name):
            return
        if self.principal.kind == "anonymous":
            raise Unauthenticated("a credential is needed here; send 'Authorization: Bearer <token>'")
        kind, object_name = action.partition(":")[0], name if isinstance(name, str) else name.name
        if object_name != ANY and not is_new and not self.may(f"{kind}:read", name):
            raise NotFound(f"{kind} has no {object_name!r}")
        scope = f"{action}:{object_name}"
        raise Forbidden(f"permission {action!r} is needed here", permission=action, scope=scope)


class Problem(BaseModel):
    """What every error answer of the REST API looks like; some codes add members."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="`urn:toolway:error:` and the code.")
    title: str = Field(description="The meaning of the HTTP status.")
    status: int = Field(description="The HTTP status.")
    code: str = Field(description="Stable code of the error.")
    detail: str = Field(description="What went wrong, where, and what to do next.")


class NoQuery(BaseModel, extra="forbid"):
    """For operations that take no query parameters."""


@dataclass(frozen=True)
class Operation:
    """One method on one path, below `/api/v1` or at a well-known place.

    `permission` is an action such as `tokens:read`, `SIGNED_IN` or `PUBLIC`. `body`, `query` and `answer` are models;
    what the handler returns is an `answer` or a whole response. For an answer that is no JSON, `answer` is its media
    type, or several as in `Accept`. With `filters` the handler itself asks for each object whether the principal may
    see it; a `conditional` one works with `ETag` and `If-Match`.
    """

    method: str
    path: str
    permission: str
    handler: Callable[[Incoming], Awaitable[Any]]
    body: Any = None
    query: Any = NoQuery
    answer: Any = None
    success: tuple[int, ...] = (200,)
    filters: bool = False
    conditional: bool = False

    @property
    def name(self) -> str:
        """What it is: method and path."""
        return f"{self.method} {self.path}"

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


def adapter_of(schema: Any) -> TypeAdapter[Any]:
    """What validates values of a model, a union of models or a prepared adapter."""
    return schema if isinstance(schema, TypeAdapter) else TypeAdapter(schema)


def listing(
    incoming: Incoming,
    permission: str,
    objects: Mapping[str, V],
    show: Callable[[V], Any],
    about: Callable[[V], Resource] | None = None,
) -> Page[Any]:
    """The page that the query asks for of the objects that the principal may see; each is `show`n.

    Keys sort the objects and begin with their names; what tells equal names apart follows after a line feed. `about`
    tells what a decision on an object is about, if its name is not enough. Pages neither repeat nor skip when objects
    come and go meanwhile.

    Raises:
        Forbidden, Unauthenticated: it may see none of them, nor the collection.
    """
    named = {key: about(one) if about else key.partition("\n")[0] for key, one in objects.items()}
    keys = sorted(key for key, name in named.items() if incoming.may(permission, name))
    if not keys:
        incoming.demand(permission, ANY)
    query: PageQuery = incoming.query
    start = bisect.bisect_right(keys, query.cursor) if query.cursor else 0
    chosen = keys[start : start + query.limit]
    is_last = start + query.limit >= len(keys)
    return Page(items=[show(objects[key]) for key in chosen], next_cursor=None if is_last else chosen[-1])


def document(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer that no cache keeps; `value` is JSON or a model."""
    body = msgspec.json.encode(value.model_dump(mode="json") if isinstance(value, BaseModel) else value)
    return Response(body, status, {"cache-control": "no-store", **(headers or {})}, "application/json")


@hookspec
def toolway_routes(kernel: Kernel) -> Iterable[Operation]:
    """Offer operations of the REST API.

    Called: once, when the gateway is built.
    Used: for requests that are not for MCP; each is described in the OpenAPI document.
    On error: the request is answered with a problem document; what is unexpected is logged under an error id.
    Since: 1.0
    """
