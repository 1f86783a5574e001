"""Builds a gateway from its configuration: every part, wired top to bottom in reading order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import msgspec
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from toolway import __version__
from toolway.admin.api import admin_routes
from toolway.admin.operations import AdminContext, Phase, ReadyCheck
from toolway.admin.problems import problem_handlers
from toolway.bundled import bundled_plugins
from toolway.catalog.catalog import Catalog
from toolway.catalog.declared import configured
from toolway.catalog.definitions import Definitions
from toolway.catalog.entities import ServerEntity, UpstreamEntity
from toolway.config import Config
from toolway.errors import ConfigError
from toolway.gateway.access import Access, Visit
from toolway.gateway.endpoint import Endpoint
from toolway.gateway.legs import authorizer
from toolway.gateway.plane import DataPlane, Providers
from toolway.hookspecs import auth, routing, secrets as secret_hooks, system
from toolway.hookspecs.auth import ANONYMOUS, AuthContext, Principal
from toolway.hookspecs.serving import ServerRunner
from toolway.keep import Holder
from toolway.kernel import GatewayKernel
from toolway.plugin.host import Plugins


@dataclass
class Gateway:
    """One built gateway: what it serves, and what runs while it serves."""

    config: Config
    plugins: Plugins
    kernel: GatewayKernel
    plane: DataPlane
    app: ASGIApp
    holder: Holder
    services: tuple[system.Service, ...]
    runner: ServerRunner
    phase: Phase = "starting"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve inside of this context: relays, discovery and the plugins' services run."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._closed)
            await stack.enter_async_context(self.plane.relay.run())
            await stack.enter_async_context(self.plane.catalog.run())
            for service in self.services:
                await stack.enter_async_context(service.run())
            sweeper = asyncio.create_task(self.plane.tend())
            stack.callback(sweeper.cancel)
            self.phase = "serving"
            yield

    async def drain(self) -> None:
        """Streams end properly, calls in flight finish."""
        self.phase = "draining"
        await self.plane.drain()

    async def _closed(self) -> None:
        await self.plane.background.close()
        await self.plane.legs.close()
        await self.kernel.close()
        await self.holder.release()


async def build_gateway(config: Config, holder: Holder, *, demo: bool = False) -> Gateway:
    """Every part of a gateway; nothing runs yet.

    Raises:
        ConfigError, PluginError: the configuration cannot be used; the message says what to change.
        StoreUnavailable: the database does not answer.
    """
    plugins = load_plugins(config)
    plugins.refuse_broken()
    kernel = await GatewayKernel.open(config, plugins, holder)

    kinds = {kind.kind: kind for kind in plugins.collect(routing.toolway_upstream_kinds, kernel)}
    auths = {each.type: each for each in plugins.collect(secret_hooks.toolway_upstream_auths, kernel)}
    definitions = Definitions(kinds, auths)
    upstreams = UpstreamEntity(definitions, kernel.seal, kernel.secrets.schemes(), config.gateway.api_references)
    servers = ServerEntity(definitions)
    catalog = Catalog(
        store=kernel.database,
        upstreams=upstreams,
        servers=servers,
        configured=configured(
            config, definitions, guarded=is_guarded(plugins, kernel) or bool(plugins.quarantined), demo=demo
        ),
        authorize=lambda upstream: authorizer(auths, upstream, ANONYMOUS),
        pubsub=kernel.pubsub,
        clock=kernel.clock,
    )
    access = Access(
        plugins.collect(auth.toolway_authenticators, kernel),
        plugins.collect(auth.toolway_authorizers, kernel, builtin="fallback"),
        kernel.clock,
    )
    providers = Providers(
        kinds,
        auths,
        plugins.one(routing.toolway_balancers, kernel, config.gateway.balancer),
        plugins.collect(routing.toolway_policies, kernel, builtin="first"),
        plugins.collect(routing.toolway_request_middleware, kernel),
    )
    plane = DataPlane(kernel, config.gateway, catalog, access, providers)
    services = plugins.collect(system.toolway_services, kernel)
    server = None if config.gateway.server == "auto" else config.gateway.server
    runner = plugins.one(system.toolway_server_runners, kernel, server)
    await catalog.reload()

    gateway = Gateway(config, plugins, kernel, plane, _refuse_all, holder, services, runner)
    context = AdminContext(
        catalog=catalog,
        store=kernel.database,
        entities=(upstreams, servers),
        authenticate=_admin_authentication(access),
        authorize=access.allowed,
        plugins=lambda: msgspec.to_builtins(plugins.report()),
        phase=lambda: gateway.phase,
        checks=(ReadyCheck("database", kernel.database.check),),
        version=__version__,
    )
    admin = Starlette(routes=admin_routes(context), exception_handlers=problem_handlers())
    gateway.app = Endpoint(plane, otherwise=admin)
    return gateway


def load_plugins(config: Config) -> Plugins:
    """The enabled plugins and the bundled ones; what is broken is only reported."""
    tables = config.plugins
    return Plugins.load(tables.enable, tables.optional, tables.tables, bundled_plugins(), config.source)


def is_guarded(plugins: Plugins, kernel: GatewayKernel) -> bool:
    """Whether a plugin authenticates clients."""
    return any(not each.builtin for each in plugins.provided(auth.toolway_authenticators, kernel))


def _admin_authentication(access: Access) -> Callable[[Headers, str], Awaitable[Principal]]:
    async def authenticate(headers: Headers, address: str) -> Principal:
        fields = dict(headers.raw)
        context = AuthContext(None, address, "/api/v1")
        visit = Visit(fields.get(b"authorization"), fields.get(b"x-api-key"), context)
        return (await access.authenticate(visit)).principal

    return authenticate


async def _refuse_all(scope: Scope, receive: Receive, send: Send) -> None:
    raise ConfigError("the gateway is not built yet")
