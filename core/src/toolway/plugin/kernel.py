"""The narrow view of the kernel that plugins and built-in providers get."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import msgspec
from pydantic import BaseModel

from toolway.errors import ConfigError
from toolway.hookspecs.accounts import Accounts
from toolway.hookspecs.auth import Authenticated, PasswordVerifier, Principal, Resource, Visit
from toolway.hookspecs.caching import KeyValueStore, PubSub
from toolway.hookspecs.catalog import Catalog, Definitions
from toolway.hookspecs.challenge import Challenges
from toolway.hookspecs.routing import Call, Reply
from toolway.hookspecs.system import Entity, HealthCheck, Transaction
from toolway.hookspecs.telemetry import Diagnostic, Metrics

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

    from toolway.hookspecs.api import Operation
    from toolway.plugin.http import OutgoingHttp


T = TypeVar("T")
Phase = Literal["starting", "serving", "draining"]


class Clock(Protocol):
    """The one clock: tests move it."""

    def monotonic(self) -> float:
        """Seconds that only grow, for durations and deadlines."""

    def now(self) -> float:
        """Seconds since 1970 (UTC), for what outlives the process: expiry of tokens and rows."""


class Secrets(Protocol):
    """Resolves references and follows their rotation."""

    async def get(self, reference: str) -> str:
        """The current value; kept in memory until its scheme wants it refreshed.

        Raises:
            SecretUnavailable: unknown scheme, unknown reference or no answer.
        """

    def schemes(self) -> Collection[str]:
        """Every scheme that a reference may begin with."""

    def known(self) -> frozenset[str]:
        """Every value resolved so far, and what is known besides, for redaction."""

    def know(self, *values: str) -> None:
        """These are secret too: credentials that were received; the last 2,000 are remembered."""


class Seal(Protocol):
    """Authenticated encryption of small values that leave the gateway and come back (AES-256-GCM)."""

    def seal(self, purpose: str, payload: bytes) -> str:
        """URL-safe text that only `open` with the same purpose accepts."""

    def open(self, purpose: str, token: str) -> bytes | None:
        """The payload, or None when it was tampered with, is of another purpose or its key is gone."""


class Database(Protocol):
    """The only place that opens transactions."""

    @property
    def engine(self) -> AsyncEngine:
        """For what a transaction cannot do, such as PostgreSQL's LISTEN."""

    @property
    def is_sqlite(self) -> bool:
        """SQLite, of one node and with one writer at a time, or else PostgreSQL."""

    def read(self) -> Any:
        """`async with database.read() as tx`: one consistent read transaction."""

    def change(self, part: str, actor: str, action: str, subject: str) -> Any:
        """`async with database.change(…) as tx`: an administrative change, see `hookspecs.system.Change`.

        `part` is the part of the snapshot that it makes anew, or several, separated by spaces.
        """

    def write(self) -> Any:
        """`async with database.write() as tx`: a write that changes no snapshot part."""

    async def alone(self, tx: Transaction, name: str) -> None:
        """Wait until no other transaction of any node is alone with `name`; holds until this one ends."""


class Difference(msgspec.Struct, frozen=True):
    """One thing that another configuration makes different; `needs_restart` if this process keeps what it has."""

    path: str
    what: Literal["added", "changed", "removed"]
    needs_restart: bool = False


class Prepared(Protocol):
    """A gateway that is built and checked, and does not serve yet; one of both has to be called."""

    @property
    def differences(self) -> Sequence[Difference]:
        """What is different from the configuration in force."""

    async def commit(self) -> None:
        """Let it take over: no request is lost, what did not change goes on; whatever it raises, nothing changed."""

    async def cancel(self) -> None:
        """Throw it away."""


class Control(Protocol):
    """What can be done with the process; `hangups` are called when SIGHUP comes, `files` are those it reads."""

    hangups: list[Callable[[], None]]
    files: Callable[[], Sequence[Path]]

    async def prepare(self) -> Prepared:
        """Read the configuration anew and build a gateway of it; one at a time.

        Raises:
            ConfigError: it cannot be used, or there is no file to read (and what else building a gateway raises).
            Conflict: another one is under way.
        """


class NoControl:
    """Of a gateway that nobody can replace."""

    def __init__(self) -> None:
        self.hangups: list[Callable[[], None]] = []
        self.files: Callable[[], Sequence[Path]] = tuple

    async def prepare(self) -> Prepared:
        """See `Control`."""
        raise ConfigError("this gateway cannot be reloaded; start it with toolway serve")


class Kernel(Protocol):
    """What a provider may use of the gateway that it lives in."""

    @property
    def clock(self) -> Clock:
        """The one clock."""

    @property
    def secrets(self) -> Secrets:
        """Resolves secret references."""

    @property
    def seal(self) -> Seal:
        """Seals what leaves the gateway and comes back."""

    @property
    def database(self) -> Database:
        """The only place that opens transactions."""

    @property
    def parts(self) -> Mapping[str, Any]:
        """The values of all snapshot parts, as they are now; read it anew for each request."""

    @property
    def accounts(self) -> Accounts:
        """Users, service accounts and teams, as they are now."""

    @property
    def definitions(self) -> Definitions:
        """Checks declared upstreams and servers."""

    @property
    def api_references(self) -> Sequence[str]:
        """The secret schemes that upstreams declared by API may use."""

    @property
    def catalog(self) -> Catalog:
        """Upstreams and servers with what they offer."""

    @property
    def entities(self) -> Sequence[Entity]:
        """Every collection of declared objects."""

    @property
    def operations(self) -> Sequence[Operation]:
        """Every operation of the REST API, once the gateway is built."""

    @property
    def password_verifiers(self) -> Sequence[PasswordVerifier]:
        """Who says whether a password is somebody's, local passwords first; once the gateway is built."""

    @property
    def plugins(self) -> Sequence[Mapping[str, Any]]:
        """What is known of each plugin, installed or enabled: `name`, `state` and more."""

    @property
    def public_url(self) -> str:
        """Where clients reach the gateway, without a slash at the end."""

    @property
    def phase(self) -> Phase:
        """What the gateway is doing."""

    @property
    def health_checks(self) -> Sequence[HealthCheck]:
        """Every check, once the gateway is built."""

    @property
    def diagnostics(self) -> Sequence[Diagnostic]:
        """What plugins tell of themselves, once the gateway is built."""

    @property
    def config(self) -> BaseModel:
        """The configuration in force; of secrets it has references, and what stands behind `literal:`."""

    @property
    def challenges(self) -> Challenges:
        """What refused clients are told."""

    async def authenticate(self, visit: Visit) -> Authenticated:
        """Who presents a credential.

        Raises:
            Unauthenticated: nobody accepts it, or not from there.
            InvalidInput: the request has two.
            StoreUnavailable: it cannot be looked up now.
            TooManyFailures: one of many bad ones from that address.
        """

    def authorized(self, principal: Principal, action: str, resource: Resource) -> bool:
        """Whether the principal may do this: what all authorizers together say."""

    def call(self, call: Call) -> Awaitable[Reply]:
        """Make a call that no client waits for, by the names that its server shows, through all middleware.

        Its principal has to be one who may use the server, which is not looked at. Nobody can be asked: where its
        client has capabilities, a call that gets `is_asked` has to be given up. Failures are faults. Only while the
        gateway serves.

        Raises:
            NotFound: there is no such server.
        """

    def describe(self, action: str, name: str) -> Resource:
        """What a decision about this action on this object is about, with its owner and visibility."""

    @property
    def control(self) -> Control:
        """Reload."""

    @property
    def metrics(self) -> Metrics:
        """Makes instruments."""

    @property
    def redact(self) -> Callable[..., str]:
        """`redact(text, key=None)`: the text without secrets, for whatever leaves the gateway."""

    @property
    def keyvalue(self) -> KeyValueStore:
        """State that all nodes share."""

    @property
    def pubsub(self) -> PubSub:
        """Messages to all nodes."""

    @property
    def node(self) -> str:
        """The name of this process, never used before."""

    @property
    def http(self) -> OutgoingHttp:
        """The guarded client: no redirects, no cookies, no private addresses unless allowed."""

    async def keep(
        self,
        key: str,
        fingerprint: str,
        factory: Callable[[], Awaitable[T]],
        close: Callable[[Any], Awaitable[None]] | None = None,
    ) -> T:
        """A resource that outlives a reload while its fingerprint is equal; its last holder closes it."""
