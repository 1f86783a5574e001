"""The kernel facade as plugins see it, and what the gateway itself holds behind it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar, cast

import msgspec

from toolway.catalog.catalog import Catalog
from toolway.catalog.definitions import Definitions
from toolway.catalog.store import Store
from toolway.clock import SystemClock
from toolway.config import Config
from toolway.edge.metrics import Instruments
from toolway.errors import ConfigError, SecretUnavailable
from toolway.gateway.access import Access
from toolway.hookspecs import caching, secrets as secret_hooks, system, telemetry
from toolway.hookspecs.accounts import NO_ACCOUNTS, Accounts
from toolway.hookspecs.api import Operation
from toolway.hookspecs.auth import Authenticated, PasswordVerifier, Principal, Resource, Visit
from toolway.hookspecs.caching import KeyValueStore, PubSub
from toolway.hookspecs.challenge import Challenges
from toolway.hookspecs.routing import Call, Reply
from toolway.keep import Holder
from toolway.keyring import KeyRing, open_ring, prepare_directory, root_key_file
from toolway.migrations.run import kernel_history, migrate
from toolway.plugin.hooks import Provided
from toolway.plugin.host import Plugins
from toolway.plugin.http import OutgoingHttp
from toolway.plugin.kernel import Clock, Control, NoControl, Phase
from toolway.redaction import Redaction
from toolway.secrets import SecretResolver

T = TypeVar("T")
OF_UPSTREAMS = frozenset({"upstreams", "items", "tools", "prompts", "resources"})
"""What has the owner and visibility of an upstream, whose name its own begins with."""

CREDENTIALS = re.compile(r"(?<=://)[^/@]*@")
"""User and password of a URL."""


class GatewayKernel:
    """See `plugin.Kernel`. `open` is the only way to make one: every part is there when a hook sees it."""

    keyvalue: KeyValueStore
    pubsub: PubSub
    seal: KeyRing
    database: Store
    host: Plugins
    definitions: Definitions
    catalog: Catalog
    access: Access
    challenges: Challenges
    call: Callable[[Call], Awaitable[Reply]]
    phase: Phase = "starting"
    stores: str = ""
    entities: Sequence[system.Entity] = ()
    health_checks: Sequence[system.HealthCheck] = ()
    diagnostics: Sequence[telemetry.Diagnostic] = ()
    operations: Sequence[Operation] = ()
    password_verifiers: Sequence[PasswordVerifier] = ()

    def __init__(self, config: Config, holder: Holder, clock: Clock, metrics: Instruments | None = None) -> None:
        self.config, self.node, self.clock = config, holder.node, clock
        self.metrics = metrics or Instruments()
        self.secrets = SecretResolver(clock)
        by = {"scheme": None, "outcome": ("ok", "failed")}
        reads = self.metrics.counter("toolway_secret_reads_total", "Secrets that were asked for.", by)
        self.secrets.told = partial(reads.add, 1)
        self.redact = Redaction(self.secrets.known)
        self.control: Control = NoControl()
        self.http = OutgoingHttp(config.egress.allow_private)
        self.keep = holder.keep
        self.public_url, self.api_references = config.gateway.public_url, config.gateway.api_references
        self.challenges = Challenges(self.public_url, config.gateway.authorization_servers)

    @classmethod
    def bare(cls, config: Config, holder: Holder, metrics: Instruments | None = None) -> GatewayKernel:
        """Without database and keys: enough to ask providers for their settings models."""
        kernel = cls(config, holder, SystemClock(), metrics)
        kernel.seal = _UNSEALED
        return kernel

    @classmethod
    async def open(
        cls, config: Config, plugins: Plugins, holder: Holder, metrics: Instruments | None = None
    ) -> GatewayKernel:
        """Secrets, database, migrations, keys, key-value store and pub/sub, in this order.

        Raises:
            ConfigError: a setting cannot be used.
            SecretUnavailable: the database URL or root key cannot be resolved.
            StoreUnavailable: the database does not answer.
        """
        kernel = cls.bare(config, holder, metrics)
        kernel.host = plugins
        gateway = config.gateway
        prepare_directory(gateway.data_dir)
        kernel.database = await kernel.connect(plugins)
        await migrate(kernel.database, [kernel_history(), *plugins.collect(system.toolway_migrations, kernel)])
        root = await kernel._secret("root_key", key) if (key := gateway.root_key) else root_key_file(gateway.data_dir)
        kernel.seal = await open_ring(kernel.database, root, kernel.clock)
        kernel.secrets.use(plugins.collect(secret_hooks.toolway_secret_schemes, kernel))
        shared = "database" if kernel._is_shared else None
        kernel.http = await kernel.keep("http", str(config.egress), lambda: _given(kernel.http), OutgoingHttp.close)
        keyvalue = plugins.acting(caching.toolway_keyvalue_stores, kernel, gateway.keyvalue, shared)
        pubsub = plugins.acting(caching.toolway_pubsubs, kernel, gateway.pubsub, shared)
        kernel.keyvalue = await kernel._kept("keyvalue", keyvalue)
        kernel.pubsub = await kernel._kept("pubsub", pubsub)
        kernel._refuse_memory_for_many()
        return kernel

    async def connect(self, plugins: Plugins) -> Store:
        """The database; nothing is opened or made yet. Raises ConfigError and SecretUnavailable."""
        self.redact.redactors = plugins.collect(telemetry.toolway_redactors, self)
        self.secrets.use(plugins.collect(secret_hooks.toolway_secret_schemes, self))
        url = await self.address()
        return await self.keep("store", CREDENTIALS.sub("", url, 1), lambda: _given(Store.connect(url)), Store.close)

    async def address(self) -> str:
        """The URL of the database, with the user and password of now. Raises SecretUnavailable."""
        database, file = self.config.gateway.database, (self.config.gateway.data_dir / "toolway.db").absolute()
        return await self._secret("database", database) if database else f"sqlite+aiosqlite:///{file}"

    async def _secret(self, setting: str, reference: str) -> str:
        try:
            return await self.secrets.get(reference)
        except SecretUnavailable as error:
            raise SecretUnavailable(f"gateway.{setting} cannot be resolved: {error.message}") from error

    @property
    def parts(self) -> Mapping[str, Any]:
        """See `plugin.Kernel`."""
        return self.catalog.snapshot.parts

    @property
    def accounts(self) -> Accounts:
        """See `plugin.Kernel`."""
        return cast(Accounts, self.catalog.snapshot.parts.get("accounts", NO_ACCOUNTS))

    @property
    def plugins(self) -> Sequence[Mapping[str, Any]]:
        """See `plugin.Kernel`."""
        return cast(Sequence[Mapping[str, Any]], msgspec.to_builtins(self.host.report()))

    async def authenticate(self, visit: Visit) -> Authenticated:
        """See `plugin.Kernel`."""
        return await self.access.authenticate(visit)

    def authorized(self, principal: Principal, action: str, resource: Resource) -> bool:
        """See `plugin.Kernel`."""
        return self.access.allowed(principal, action, resource)

    def describe(self, action: str, name: str) -> Resource:
        """See `plugin.Kernel`."""
        kind, snapshot = action.partition(":")[0], self.catalog.snapshot
        if kind == "servers" and (server := snapshot.servers.get(name)) is not None:
            return server.resource
        upstream = snapshot.upstreams.get(name.partition("/")[0])
        if kind not in OF_UPSTREAMS or upstream is None:
            return Resource(name)
        settings = upstream.upstream.settings
        return Resource(name, owner=settings.owner, visibility=settings.visibility)

    async def _kept(self, what: str, provided: Provided[T]) -> T:
        """A store outlives reloads, as long as it is the same one with the same settings; what it holds is in use."""
        origin = provided.origin
        fingerprint = f"{provided.name} of {origin} with {self.config.plugins.tables.get(origin.name)}"
        self.stores += fingerprint
        return await self.keep(what, fingerprint, lambda: _given(provided.provider))

    @property
    def _is_shared(self) -> bool:
        """Whether other processes may work on the same database; what they share must not stay in one of them."""
        return not self.database.is_sqlite or self.config.gateway.workers > 1

    def _refuse_memory_for_many(self) -> None:
        for setting, provider in (("keyvalue", self.keyvalue), ("pubsub", self.pubsub)):
            if provider.name == "memory" and self._is_shared:
                raise ConfigError(
                    f'gateway.{setting} is "memory", which no other worker or node of this database sees; remove it'
                )


async def _given(value: T) -> T:
    return value


class _Unsealed:
    """Before the key ring is open, nothing can be sealed."""

    def seal(self, purpose: str, payload: bytes) -> str:
        raise ConfigError("the key ring is not open yet")

    def open(self, purpose: str, token: str) -> bytes | None:
        raise ConfigError("the database URL and the root key cannot be stored credentials")


_UNSEALED: Any = _Unsealed()
