"""What the admin API needs of the gateway it administers; the application fills it in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from starlette.datastructures import Headers

from toolway.hookspecs.auth import Principal, Resource

if TYPE_CHECKING:
    from toolway.catalog.catalog import Catalog
    from toolway.hookspecs.system import Entity
    from toolway.plugin.kernel import Database

Phase = Literal["starting", "serving", "draining"]


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
    """The parts of one gateway that the admin API works on.

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
