"""Builds a gateway from its configuration: every part, wired top to bottom in reading order."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from starlette.types import ASGIApp

from toolway.background import beside
from toolway.bundled import bundled_plugins
from toolway.catalog.catalog import Catalog
from toolway.catalog.declared import configured
from toolway.catalog.definitions import Definitions
from toolway.config import Config
from toolway.edge.metrics import Instruments
from toolway.edge.watched import Watched
from toolway.gateway.access import Access
from toolway.gateway.endpoint import Endpoint
from toolway.gateway.legs import authorizer
from toolway.gateway.lists import Lists
from toolway.gateway.plane import DataPlane, Providers
from toolway.gateway.presence import Presence
from toolway.gateway.watching import Watchers
from toolway.hookspecs import api, attempts, auth, routing, secrets as secret_hooks, system, telemetry
from toolway.hookspecs.auth import GATEWAY
from toolway.hookspecs.serving import ServerRunner
from toolway.keep import Holder
from toolway.kernel import GatewayKernel
from toolway.plugin.host import Plugins
from toolway.plugin.kernel import Control


@dataclass
class Gateway:
    """One built gateway: what it serves, and what runs while it serves."""

    config: Config
    plugins: Plugins
    kernel: GatewayKernel
    plane: DataPlane
    endpoint: Endpoint
    app: ASGIApp
    holder: Holder
    recorders: tuple[system.ChangeRecorder, ...]
    services: tuple[system.Service, ...]
    runner: ServerRunner
    log_handlers: tuple[logging.Handler, ...]

    @asynccontextmanager
    async def running(self, before: Gateway | None = None) -> AsyncIterator[None]:
        """Serve inside of this context, in place of another one: discovery and the plugins' services run."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.holder.release)
            await self.plane.presence.open()
            self.enter(before)
            del before  # this frame lives as long as the gateway
            await stack.enter_async_context(self.plane.catalog.run())
            for service in self.services:
                await stack.enter_async_context(service.run())
            stack.callback(self.plane.dispatch.watchers.tell)
            tending = beside("tending of what is open", self.plane.tend(), self.kernel.metrics.tend())
            await stack.enter_async_context(tending)
            self.kernel.phase = "serving"
            yield

    async def drain(self) -> None:
        """Streams end properly, calls in flight finish."""
        self.kernel.phase = "draining"
        await self.plane.drain()

    async def retire(self) -> None:
        """Another one took over: calls in flight finish."""
        self.kernel.phase = "draining"
        await self.plane.dispatch.done()

    def enter(self, before: Gateway | None) -> None:
        """What there is one of in a process works for this gateway from now on."""
        kernel = self.kernel
        kernel.database.recorders, kernel.database.publish = self.recorders, kernel.pubsub.publish
        kernel.database.address = kernel.address
        if before is not None:
            kernel.secrets.know(*before.kernel.secrets.known())
        self.plane.enter(before.plane if before is not None else None)
        self.endpoint.enter()


async def build_gateway(
    config: Config,
    holder: Holder,
    *,
    demo: bool = False,
    metrics: Instruments | None = None,
    control: Control | None = None,
) -> Gateway:
    """Every part of a gateway; nothing runs yet.

    Raises:
        ConfigError, PluginError: the configuration cannot be used; the message says what to change.
        StoreUnavailable: the database does not answer.
    """
    plugins = load_plugins(config)
    plugins.refuse_broken()
    kernel = await GatewayKernel.open(config, plugins, holder, metrics=metrics)
    kernel.control = control or kernel.control
    kernel.metrics.read_by(plugins.collect(telemetry.toolway_metric_readers, kernel))

    kinds = {kind.kind: kind for kind in plugins.collect(routing.toolway_upstream_kinds, kernel)}
    auths = {each.type: each for each in plugins.collect(secret_hooks.toolway_upstream_auths, kernel)}
    definitions = kernel.definitions = Definitions(kinds, auths)
    catalog = kernel.catalog = Catalog(
        store=kernel.database,
        definitions=definitions,
        sources=plugins.collect(routing.toolway_catalog_sources, kernel),
        parts=plugins.collect(system.toolway_snapshot_parts, kernel, builtin="first"),
        configured=configured(
            config, definitions, guarded=is_guarded(plugins, kernel) or bool(plugins.quarantined), demo=demo
        ),
        authorize=lambda upstream: authorizer(auths, upstream, GATEWAY),
        pubsub=kernel.pubsub,
        clock=kernel.clock,
    )
    access = kernel.access = Access(
        plugins.collect(auth.toolway_authenticators, kernel), _authorizers(plugins, kernel), kernel.clock
    )
    watching = _watchers(plugins, kernel)
    providers = Providers(
        kinds,
        auths,
        plugins.one(attempts.toolway_balancers, kernel, config.gateway.balancer),
        plugins.collect(attempts.toolway_policies, kernel, builtin="first"),
        plugins.collect(attempts.toolway_endpoint_filters, kernel),
        plugins.collect(attempts.toolway_attempt_watchers, kernel),
        plugins.collect(routing.toolway_request_middleware, kernel),
        watching,
    )
    lists = Lists(access, kernel.seal, config.gateway.page_size)

    async def present() -> Presence:
        return Presence(kernel, config.gateway, catalog, access, lists)

    presence = await kernel.keep("presence", kernel.stores, present, Presence.close)
    plane = DataPlane(kernel, catalog, access, providers, lists, presence)
    kernel.call = plane.call
    kernel.entities = plugins.collect(system.toolway_entities, kernel, builtin="first")
    services = plugins.collect(system.toolway_services, kernel)
    server = None if config.gateway.server == "auto" else config.gateway.server
    runner = plugins.one(system.toolway_server_runners, kernel, server)
    await catalog.reload()

    found = plugins.collect(system.toolway_change_recorders, kernel)
    recorders = tuple(sorted(found, key=lambda each: getattr(each, "is_last", False)))  # whom all wait for comes last
    kernel.health_checks = (kernel.database, catalog, *plugins.collect(system.toolway_health_checks, kernel))
    kernel.diagnostics = plugins.collect(telemetry.toolway_diagnostics, kernel)
    kernel.password_verifiers = plugins.collect(auth.toolway_password_verifiers, kernel, builtin="first")
    kernel.operations = plugins.collect(api.toolway_routes, kernel, builtin="first")
    rest, *_ = plugins.collect(system.toolway_applications, kernel)
    own, every, now = watching.api, watching.requests, kernel.clock.now
    endpoint = Endpoint(plane, kernel.challenges, Watched(rest, own, now) if own.is_wanted else rest)
    app: ASGIApp = Watched(endpoint, every, now) if every.is_wanted else endpoint
    handlers = plugins.collect(telemetry.toolway_log_handlers, kernel)
    return Gateway(config, plugins, kernel, plane, endpoint, app, holder, recorders, services, runner, handlers)


def load_plugins(config: Config) -> Plugins:
    """The enabled plugins and the bundled ones; what is broken is only reported."""
    tables = config.plugins
    bundled = bundled_plugins(**config.accounts.model_dump())
    return Plugins.load(tables.enable, tables.optional, tables.tables, bundled, config.source)


def _authorizers(plugins: Plugins, kernel: GatewayKernel) -> list[auth.Authorizer]:
    """Those of plugins, and the built-in one unless one of them is complete."""
    every = plugins.provided(auth.toolway_authorizers, kernel)
    is_complete = any(each.provider.complete for each in every if not each.builtin)
    return [each.provider for each in every if not (each.builtin and is_complete)]


def _watchers(plugins: Plugins, kernel: GatewayKernel) -> Watchers:
    requests = plugins.collect(telemetry.toolway_request_watchers, kernel)
    calls = plugins.collect(telemetry.toolway_call_watchers, kernel)
    return Watchers(requests, calls, plugins.collect(telemetry.toolway_api_watchers, kernel), kernel.metrics.late)


def is_guarded(plugins: Plugins, kernel: GatewayKernel) -> bool:
    """Whether a plugin authenticates clients."""
    return any(not each.builtin for each in plugins.provided(auth.toolway_authenticators, kernel))
