"""Where a call goes: upstreams and their kinds, legs, calls and replies, middleware, what is declared."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import msgspec
from msgspec import Raw
from pydantic import BaseModel

from toolway.errors import InvalidInput
from toolway.hookspecs.auth import Principal
from toolway.hookspecs.definitions import ServerSettings, UpstreamSettings
from toolway.hookspecs.markers import hookspec
from toolway.hookspecs.secrets import Challenge
from toolway.hookspecs.structs import Mutable

if TYPE_CHECKING:
    from toolway.hookspecs.attempts import Attempt
    from toolway.hookspecs.system import Transaction
    from toolway.hookspecs.telemetry import Served
    from toolway.plugin import Kernel

Era = Literal["modern", "legacy"]
ItemKind = Literal["tool", "prompt", "resource", "template"]


class Endpoint(msgspec.Struct, frozen=True):
    """One replica of an upstream: `id` is its URL, or `local` for kinds that have exactly one."""

    id: str


class Upstream(msgspec.Struct, frozen=True):
    """Something registered behind the gateway; `settings` is an instance of its kind's settings model."""

    name: str
    kind: str
    settings: UpstreamSettings
    endpoints: tuple[Endpoint, ...]
    auth: BaseModel | None = None


class Item(msgspec.Struct, frozen=True):
    """Something an upstream offers. `name` is its own name there: a tool's or prompt's name, a URI or a URI template.

    `raw` is the list entry exactly as the upstream sent it.
    """

    upstream: str
    kind: ItemKind
    name: str
    raw: bytes

    @property
    def canonical(self) -> str:
        """`upstream/item`, unique within the gateway."""
        return f"{self.upstream}/{self.name}"


class Eras(msgspec.Struct, frozen=True):
    """The protocol versions that an endpoint answers to, one per era; None where it does not speak that era."""

    modern: str | None = None
    legacy: str | None = None


class Discovery(msgspec.Struct, frozen=True):
    """What an upstream said about itself; raw where the gateway does not need to look inside.

    `problems` tells what of its lists is left out, and why.
    """

    eras: Eras
    capabilities: dict[str, Any] = {}
    server_info: dict[str, Any] = {}
    instructions: str | None = None
    items: tuple[Item, ...] = ()
    problems: tuple[str, ...] = ()


class ClientProfile(msgspec.Struct, frozen=True, dict=True):
    """What a client declared: protocol version, capabilities and `clientInfo`, unknown fields kept."""

    version: str
    capabilities: dict[str, Any] = {}
    info: dict[str, Any] = {}
    log_level: str | None = None

    @cached_property
    def era(self) -> Era:
        """Modern from 2026-07-28 on; versions are ISO dates, so they compare as text."""
        return "modern" if self.version >= "2026-07-28" else "legacy"

    def capability_digest(self) -> str:
        """Equal for equal capabilities, whatever the order of keys."""
        encoded = msgspec.json.encode(self.capabilities, order="sorted")
        return hashlib.blake2b(encoded, digest_size=8).hexdigest()


class RpcFault(msgspec.Struct, omit_defaults=True):
    """A JSON-RPC error object (JSON-RPC 2.0 section 5.1)."""

    code: int
    message: str
    data: Raw | msgspec.UnsetType = msgspec.UNSET


class Reply(msgspec.Struct):
    """The end of one request: `result` bytes as they came, or a fault. `kind` is the modern `resultType`."""

    result: Raw | None = None
    fault: RpcFault | None = None
    kind: str = "complete"


class Peer(Protocol):
    """The other end of a conversation, as whoever answers it sees it."""

    def notify(self, method: str, params: Mapping[str, Raw]) -> None:
        """Pass a notification on; never blocks, dropped when nobody can receive it."""

    async def ask(self, method: str, params: Raw) -> Raw:
        """Send a server-to-client request (`elicitation/create`, `sampling/createMessage`, `roots/list`).

        Raises:
            ClientCannot: the client did not declare the capability, or has no open stream.
        """


class Wants(msgspec.Struct, frozen=True):
    """What a stream of an upstream should report: changed lists, and updates of these resource URIs."""

    tools: bool = False
    prompts: bool = False
    resources: bool = False
    uris: frozenset[str] = frozenset()


class Leg(msgspec.Struct, frozen=True, eq=False):
    """The gateway's own conversation with one upstream.

    `key` is empty when shared. `peer` gets everything that belongs to no request of ours. `authorize` makes the
    headers of each HTTP request and is asked once more with the upstream's challenge after a 401.
    """

    era: Era
    key: str
    client: ClientProfile
    peer: Peer
    authorize: Callable[[Challenge | None], Awaitable[Mapping[str, str]]]
    version: str = ""


class UpstreamRequest(msgspec.Struct, eq=False, metaclass=Mutable):
    """One request to an upstream: names are the upstream's own, `meta` is what goes out as `params._meta`.

    `name` is what modern HTTP mirrors as `Mcp-Name` (None where the method has none). `deadline` is monotonic
    seconds; `first_byte` is seconds until the answer must have begun.
    """

    method: str
    params: dict[str, Raw]
    meta: dict[str, Raw]
    peer: Peer
    deadline: float
    name: str | None = None
    headers: dict[str, str] = {}
    first_byte: float = 30.0


class Connection(Protocol):
    """A leg made real on one endpoint. It opens itself on first use and reconnects while it is watched."""

    async def discover(self) -> Discovery:
        """Ask for capabilities and all items, all pages.

        Raises:
            UpstreamError: it does not answer, or not with MCP.
        """

    async def request(self, request: UpstreamRequest) -> Reply:
        """Send one request and wait for its reply; cancelling the task cancels the request upstream.

        Raises:
            UpstreamError: no reply; its `sent` tells whether the request may have been received.
        """

    async def notify(self, method: str, params: Mapping[str, Raw]) -> None:
        """Send a notification; legacy legs only."""

    async def watch(self, wants: Wants) -> None:
        """Set what is to be reported to `leg.peer`, replacing what was asked before; returns once it is in force.

        After a lost stream is back, changed lists and updates are reported for everything wanted.

        Raises:
            UpstreamError: what is new in it was refused, or it cannot be asked for.
        """

    async def close(self) -> None:
        """End the conversation (a legacy session is deleted, a process is stopped)."""


class UpstreamKind(Protocol):
    """How to reach upstreams of one `kind`. `file_only` kinds are refused by the API (they can start programs)."""

    kind: str
    settings: type[UpstreamSettings]
    file_only: bool

    def endpoints(self, settings: UpstreamSettings) -> tuple[Endpoint, ...]:
        """The endpoints that settings name; raises InvalidInput."""

    async def probe(self, upstream: Upstream, endpoint: Endpoint, leg: Leg) -> Eras:
        """Find out which eras the endpoint speaks (`leg.era` is not looked at); raises UpstreamError."""

    def connect(self, upstream: Upstream, endpoint: Endpoint, leg: Leg) -> Connection:
        """Make a connection; nothing is sent yet."""


class Target(msgspec.Struct, frozen=True):
    """Where a public name leads: the upstream, and the item's own name there (None for a URI under a template)."""

    upstream: str
    name: str
    item: Item | None = None
    fixed: dict[str, Any] = {}


class Call(msgspec.Struct, eq=False, dict=True, metaclass=Mutable):
    """One request of a client on its way through the gateway.

    `params` is raw and without `_meta`, which is `meta`. `deadline` is monotonic seconds. `address` is the client's
    where it has one. What middleware puts into `outgoing_headers` and `outgoing_meta` goes to the upstream with each
    attempt; what it puts into `reply_headers` is sent with the HTTP answer, unless that has begun. Middleware that
    answers in place of the upstream says so in `answered_by`, with its name: watchers tell such calls from others.
    `is_asked` is set when its client was asked for something. While somebody watches, it has the request that it is
    `served` in and its `attempts`; whoever is told of its end finds its `reply`, None when it was cancelled, its
    `outcome` (one of `telemetry.OUTCOMES`), when it `ended` (monotonic seconds), and after how many `seconds`.
    """

    method: str
    params: dict[str, Raw]
    meta: dict[str, Raw]
    server: str
    principal: Principal
    client: ClientProfile
    peer: Peer
    deadline: float
    session: str = ""
    address: str = ""
    target: Target | None = None
    outgoing_headers: dict[str, str] = {}
    outgoing_meta: dict[str, Raw] = {}
    reply_headers: dict[str, str] = {}
    answered_by: str = ""
    is_asked: bool = False
    attempts: list[Attempt] | None = None
    outcome: str = ""
    reply: Reply | None = None
    ended: float = 0.0
    seconds: float = 0.0
    served: Served | None = None

    def arguments(self) -> dict[str, Any]:
        """The decoded `arguments`, decoded once; integers of up to 4,300 digits survive.

        Raises:
            InvalidInput: they are no object, or hold a number that nobody can represent.
        """
        known: dict[str, Any] | None = self.__dict__.get("arguments_")
        if known is None:
            try:
                known = msgspec.json.decode(self.params.get("arguments", b"{}"), type=dict[str, Any])
            except (msgspec.DecodeError, RecursionError):
                raise InvalidInput("params.arguments must be an object of values that can be represented") from None
            self.__dict__["arguments_"] = known
        return known

    def digest(self) -> str:
        """SHA-256 over method and params (without `_meta`), in hexadecimal."""
        hashed = hashlib.sha256(self.method.encode())
        for key in sorted(self.params):
            hashed.update(b"\0" + key.encode() + b"\0" + bytes(self.params[key]))
        return hashed.hexdigest()

    def notify(self, method: str, params: Mapping[str, Raw]) -> None:
        """Send a notification to the client on this call's stream."""
        self.peer.notify(method, params)

    async def ask(self, method: str, params: Raw) -> Raw:
        """Ask the client (`elicitation/create`, `sampling/createMessage`, `roots/list`), in either era.

        Raises:
            ClientCannot: the client did not declare the capability.
        """
        return await self.peer.ask(method, params)


CallNext = Callable[[Call], Awaitable[Reply]]


class RequestMiddleware(Protocol):
    """Wraps calls of the named methods, of the four in `CALL_METHODS`; the first enabled plugin is outermost."""

    name: str
    methods: ClassVar[frozenset[str]]

    async def __call__(self, call: Call, call_next: CallNext) -> Reply:
        """Answer, or pass on with `await call_next(call)`."""


CALL_METHODS: frozenset[str] = frozenset({"tools/call", "prompts/get", "resources/read", "completion/complete"})


class Desired(msgspec.Struct, frozen=True):
    """Declared upstreams and servers."""

    upstreams: tuple[UpstreamSettings, ...] = ()
    servers: tuple[ServerSettings, ...] = ()


class CatalogSource(Protocol):
    """Declares upstreams and servers; `name` says where, for messages such as "of the database"."""

    name: str

    async def desired(self, tx: Transaction) -> Desired:
        """What is declared now; read again after each change of the part `catalog`."""


@hookspec
def toolway_catalog_sources(kernel: Kernel) -> Iterable[CatalogSource]:
    """Offer upstreams and servers.

    Called: once, when the gateway is built.
    Used: after the configuration, in the order of `plugins.enable`, the registry last; the first of a name is in force.
    On error: the previous catalog stays in force, and `/ready` says so.
    Since: 1.0
    """


@hookspec
def toolway_upstream_kinds(kernel: Kernel) -> Iterable[UpstreamKind]:
    """Offer kinds of upstreams.

    Called: once, when the gateway is built.
    Used: for discovery and every attempt on an upstream of that kind.
    On error: the attempt fails; the upstream is marked as failing, others are not touched.
    Since: 1.0
    """


@hookspec
def toolway_request_middleware(kernel: Kernel) -> Iterable[RequestMiddleware]:
    """Offer wrappers around calls.

    Called: once, when the gateway is built.
    Used: for every call of its `methods` (of `CALL_METHODS`, others are refused), compiled into one chain.
    On error: the request is answered with an internal error that names only an error id.
    Since: 1.0
    """
