"""Life of the gateway around the requests: entities, services, migrations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import msgspec
from pydantic import BaseModel

from toolway.hookspecs.markers import hookspec
from toolway.hookspecs.serving import ServerRunner

if TYPE_CHECKING:
    from sqlalchemy import MetaData
    from sqlmodel.ext.asyncio.session import AsyncSession
    from starlette.types import Receive, Scope, Send

    from toolway.hookspecs.api import Incoming
    from toolway.plugin import Kernel


class Transaction(Protocol):
    """One database transaction; committed by whoever opened it."""

    @property
    def session(self) -> AsyncSession:
        """The SQLModel session."""

    async def revoke(self, *keys: str) -> None:
        """When this is committed, forget credentials with these revoke keys: every node does, within a second."""


class Change(Transaction, Protocol):
    """An administrative change: who does what to which object, and what that was before and is after.

    Whoever makes it sets `before` and `after` (JSON values, None for nothing), without secrets. One that is about many
    objects has a copy of itself for each in `single`, and those are recorded.
    """

    actor: str
    action: str
    subject: str
    before: Any
    after: Any
    single: list[Any]


class ChangeRecorder(Protocol):
    """Keeps a trail of administrative changes.

    One that has `is_last = True` comes after the others: it holds what every other change waits for.
    """

    name: str

    async def record(self, change: Change) -> None:
        """Write it down in the transaction of the change; raising undoes both."""


class Stored(msgspec.Struct, frozen=True):
    """One object of a collection as the API shows it: credentials are references, never values.

    `revision` grows with every change and is the `ETag`; `managed_by: file` objects are read-only in the API.
    """

    name: str
    value: BaseModel
    revision: int = 0
    managed_by: Literal["api", "file"] = "api"


class Entity(Protocol):
    """A named collection of declared objects. REST, CLI `get/apply`, export and UI are derived from it.

    `kind` is the plural used in paths and permissions (`upstreams:read`, `upstreams:write`); `part` is the part of the
    snapshot that a change of them makes anew; `schema` validates bodies. Objects with an `owner` and a `visibility`
    (see `Resource`) are shown to whom they are for.
    """

    kind: str
    part: str
    schema: Any

    async def list(self, tx: Transaction) -> Sequence[Stored]:
        """All objects, sorted by name."""

    async def get(self, tx: Transaction, name: str) -> Stored | None:
        """One object, or None."""

    async def put(self, tx: Transaction, value: BaseModel) -> None:
        """Create or replace the object `value.name`.

        Raises:
            Conflict: the object is managed by the configuration file.
            InvalidInput: the object refers to something that does not exist or is not allowed.
        """

    async def delete(self, tx: Transaction, name: str) -> None:
        """Remove it; raises NotFound or Conflict."""


class HealthCheck(Protocol):
    """One thing that `/ready` looks at. A critical one that fails makes the node unready; the others are only told."""

    name: str

    @property
    def critical(self) -> bool:
        """Whether it is critical, now."""

    async def check(self) -> str:
        """What is wrong, empty when nothing is; waited for 2 s."""


class Application(Protocol):
    """An ASGI application."""

    name: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""


@runtime_checkable
class Guarded(Protocol):
    """An entity some changes of which need more than the permission to write."""

    def guard(self, incoming: Incoming, before: Any, after: Any) -> None:
        """Refuse a change from one value to another; None is no object. Raises Forbidden."""


class SnapshotPart(Protocol):
    """A named, immutable value that requests read as `kernel.parts[name]`; made anew when its revision moved.

    It is also made anew when one of the parts `after` which it is loaded was.
    """

    name: str
    after: tuple[str, ...]

    async def load(self, tx: Transaction, parts: Mapping[str, Any]) -> Any:
        """The value now; `parts` has those loaded before it, and under its own name what it was until now."""


class Service(Protocol):
    """Something that runs as long as the gateway."""

    name: str

    def run(self) -> AbstractAsyncContextManager[None]:
        """Entered after the gateway is in place, left when it drains."""


class MigrationSource(msgspec.Struct, frozen=True):
    """The schema history of one package, in `package:directory`; its version table is `alembic_version_<name>`."""

    name: str
    location: str
    metadata: MetaData


@hookspec
def toolway_snapshot_parts(kernel: Kernel) -> Iterable[SnapshotPart]:
    """Offer values that requests read.

    Called: once, when the gateway is built.
    Used: loaded in one read transaction when the gateway starts and when a change bumped a revision; swapped together.
    On error: at the start, the gateway does not start; later the previous values stay, and `/ready` says so.
    Since: 1.0
    """


@hookspec
def toolway_entities(kernel: Kernel) -> Iterable[Entity]:
    """Offer collections of declared objects.

    Called: once, when the gateway is built.
    Used: the REST API of the collection is made of it.
    On error: the request fails, its transaction is rolled back.
    Since: 1.0
    """


@hookspec
def toolway_health_checks(kernel: Kernel) -> Iterable[HealthCheck]:
    """Offer what tells whether this node should get requests.

    Called: once, when the gateway is built.
    Used: for each request for `/ready`, all at once.
    On error: the check counts as failed; the log has the reason.
    Since: 1.0
    """


@hookspec
def toolway_applications(kernel: Kernel) -> Iterable[Application]:
    """Offer what answers requests that are not for MCP.

    Called: once, when the gateway is built, after every other hook.
    Used: the first one answers; without any plugin's, that is the REST API of `toolway_routes`.
    On error: the connection is cut; applications answer for their own errors.
    Since: 1.0
    """


@hookspec
def toolway_change_recorders(kernel: Kernel) -> Iterable[ChangeRecorder]:
    """Offer to keep a trail of administrative changes.

    Called: once, when the gateway is built.
    Used: for every change, before it is committed; in any case it is then told to the logger `toolway.audit`, as JSON.
    On error: the change is undone, its request fails.
    Since: 1.0
    """


@hookspec
def toolway_services(kernel: Kernel) -> Iterable[Service]:
    """Offer background work.

    Called: once, when the gateway is built.
    Used: entered in order after the gateway took over, left in reverse order when it drains.
    On error: while starting, the gateway does not start; while running, it is logged with the plugin's name.
    Since: 1.0
    """


@hookspec
def toolway_migrations() -> Iterable[MigrationSource]:
    """Offer database tables and their history.

    Called: once, before the gateway is built.
    Used: in the order of `plugins.enable`, under a lock, when the recorded version is behind.
    On error: the gateway does not start; the message names the package and revision.
    Since: 1.0
    """


@hookspec
def toolway_server_runners(kernel: Kernel) -> Iterable[ServerRunner]:
    """Offer an ASGI server that speaks HTTP with the clients.

    Called: once, when the gateway is built.
    Used: for every client connection; one acts: `gateway.server`, else that of an enabled plugin, else hypercorn.
    On error: the connection is cut; no other one notices.
    Since: 1.0
    """
