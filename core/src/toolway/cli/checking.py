"""What can be said of a configuration without starting: findings, its schema, its plugins."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple

import msgspec
from pydantic import ValidationError

from toolway.app import build_gateway, is_guarded, load_plugins
from toolway.bundled.registry.credentials import unknown
from toolway.catalog.definitions import Definitions
from toolway.cli.schema import configuration_schema
from toolway.cli.serve import refuse_open_doors
from toolway.config import Config, load_config
from toolway.edge.door import tls_options
from toolway.errors import ToolwayError
from toolway.hookspecs import routing, secrets as secret_hooks, system
from toolway.hookspecs.definitions import UpstreamSettings
from toolway.keep import Holder, Keeper
from toolway.kernel import GatewayKernel
from toolway.keyring import prepare_directory
from toolway.migrations.run import kernel_history, pending
from toolway.plugin import Kernel
from toolway.validation import refusal


class Finding(NamedTuple):
    """One thing that is wrong (`error`) or worth knowing (`warning`)."""

    level: Literal["error", "warning"]
    message: str


Look = Callable[[Kernel], Awaitable[None]]


def check_configuration(path: Path | None, look: Look | None = None) -> list[Finding]:
    """Everything that `serve` would refuse, and what it would accept but somebody should know; nothing is changed.

    `look` sees the kernel of the gateway, if it can be built.
    """
    findings: list[Finding] = []
    with _noted(findings):
        asyncio.run(_check(load_config(path), findings, look))
    return findings


def schema_of_configuration(path: Path | None) -> dict[str, Any]:
    """The JSON Schema, with the settings of every enabled plugin, kind and auth type."""
    return asyncio.run(_schema(load_config(path)))


def list_plugins(path: Path | None) -> list[dict[str, Any]]:
    """All installed plugins; only enabled ones are imported."""
    return list(msgspec.to_builtins(load_plugins(load_config(path)).report()))


@contextmanager
def _noted(findings: list[Finding]) -> Iterator[None]:
    try:
        yield
    except ToolwayError as error:
        reason = str(getattr(error.__cause__, "orig", "")).partition("\n")[0]  # of the database
        findings += [Finding("error", f"{line} ({reason})" if reason else line) for line in error.message.splitlines()]


async def _check(config: Config, findings: list[Finding], look: Look | None) -> None:
    written, holder = config.model_dump(mode="json"), Keeper().holder()
    findings += [Finding("warning", f"{where} uses literal:, which is for tests") for where in _literals(written)]
    with _noted(findings):
        tls_options(config.gateway, ())
    with TemporaryDirectory() as scratch:
        try:
            gateway = await build_gateway(await _spared(config, holder, Path(scratch), findings), holder)
            refuse_open_doors(config, lambda: is_guarded(gateway.plugins, gateway.kernel))
            findings += [Finding("error", problem) for problem in gateway.plane.catalog.problems]
            findings += _unresolvable(gateway.plane.catalog.configured.upstreams, gateway.kernel.secrets.schemes())
            gateway.kernel.config = config
            if look is not None:
                await look(gateway.kernel)
        finally:
            await holder.release()


async def _spared(config: Config, holder: Holder, scratch: Path, findings: list[Finding]) -> Config:
    """The configuration with something temporary in place of what serving would make or migrate."""
    gateway, plugins = config.gateway, load_plugins(config)
    plugins.refuse_broken()
    store = await (kernel := GatewayKernel.bare(config, holder)).connect(plugins)
    is_new = store.is_sqlite and not Path(str(store.engine.url.database)).exists()  # noqa: ASYNC240 - nothing else runs
    sources = [kernel_history(), *plugins.collect(system.toolway_migrations, kernel)]
    if due := [] if is_new else await pending(store, sources):
        findings.append(Finding("warning", f"migrations of {', '.join(due)} are pending; the next start makes them"))
    url = f"sqlite+aiosqlite:///{scratch / 'toolway.db'}" if due or is_new else store.engine.url.render_as_string(False)
    changed: dict[str, Any] = {"database": f"literal:{url}"}
    if gateway.data_dir.exists():
        prepare_directory(gateway.data_dir)
    if gateway.root_key is None and not (gateway.data_dir / "root.key").exists():
        changed["data_dir"] = scratch
    return config.model_copy(update={"gateway": gateway.model_copy(update=changed)})


async def _schema(config: Config) -> dict[str, Any]:
    plugins = load_plugins(config)
    plugins.refuse_broken()
    kernel = GatewayKernel.bare(config, Keeper().holder())
    kinds = {kind.kind: kind for kind in plugins.collect(routing.toolway_upstream_kinds, kernel)}
    auths = {auth.type: auth for auth in plugins.collect(secret_hooks.toolway_upstream_auths, kernel)}
    return configuration_schema(plugins.settings_classes(), Definitions(kinds, auths))


def _unresolvable(upstreams: Iterable[UpstreamSettings], schemes: Collection[str]) -> Iterator[Finding]:
    """References of schemes that are not known."""

    def known(reference: str) -> str:
        if (scheme := reference.partition(":")[0]) not in schemes:
            raise unknown(scheme)
        return reference

    for each in upstreams:
        try:
            type(each).model_validate(each.model_dump(exclude_unset=True), context=known)
        except ValidationError as error:
            yield Finding("error", refusal(error, type(each), f"upstream {each.name!r}: ").message)


def _literals(value: Any, path: str = "") -> Iterator[str]:
    """Where values stand that begin with `literal:`."""
    members: Iterable[tuple[Any, Any]] = value.items() if isinstance(value, dict) else ()
    for key, inner in enumerate(value) if isinstance(value, list) else members:
        yield from _literals(inner, f"{path}[{key}]" if isinstance(key, int) else f"{path}.{key}")
    if isinstance(value, str) and value.startswith("literal:"):
        yield path.removeprefix(".")
