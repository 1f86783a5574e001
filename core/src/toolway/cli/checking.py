"""What can be said of a configuration without starting: findings, its schema, its plugins."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from toolway.app import load_plugins
from toolway.config import Config, load_config
from toolway.errors import ToolwayError


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong (`error`) or worth knowing (`warning`)."""

    level: Literal["error", "warning"]
    message: str


def check_configuration(path: Path | None) -> list[Finding]:
    """Everything that `serve` would refuse, and what it would accept but should not be used for real."""
    try:
        return asyncio.run(_check(load_config(path)))
    except ToolwayError as error:
        return [Finding("error", line) for line in error.message.splitlines()]


def schema_of_configuration(path: Path | None) -> dict[str, Any]:
    """The JSON Schema, with the settings of every enabled plugin, kind and auth type."""
    return asyncio.run(_schema(load_config(path)))


def list_plugins(path: Path | None) -> list[dict[str, Any]]:
    """All installed plugins; only enabled ones are imported."""
    found: list[dict[str, Any]] = msgspec.to_builtins(load_plugins(load_config(path)).report())
    return found


async def _check(config: Config) -> list[Finding]:
    from toolway.app import build_gateway, is_guarded
    from toolway.keep import Keeper
    from toolway.lifecycle import refuse_open_doors

    holder = Keeper().holder()
    written = config.model_dump(mode="json")
    findings = [Finding("warning", f"{where} uses literal:, which is for tests") for where in _literals(written)]
    try:
        gateway = await build_gateway(config, holder)
        refuse_open_doors(config, guarded=is_guarded(gateway.plugins, gateway.kernel))
        findings += [Finding("error", problem) for problem in gateway.plane.catalog.problems]
        await gateway.kernel.close()
    except ToolwayError as error:
        findings += [Finding("error", line) for line in error.message.splitlines()]
    finally:
        await holder.release()
    return findings


async def _schema(config: Config) -> dict[str, Any]:
    from toolway.catalog.definitions import Definitions
    from toolway.cli.schema import configuration_schema
    from toolway.hookspecs import routing, secrets as secret_hooks
    from toolway.keep import Keeper
    from toolway.kernel import GatewayKernel

    plugins = load_plugins(config)
    plugins.refuse_broken()
    kernel = GatewayKernel.bare(config, Keeper().holder())
    kinds = {kind.kind: kind for kind in plugins.collect(routing.toolway_upstream_kinds, kernel)}
    auths = {auth.type: auth for auth in plugins.collect(secret_hooks.toolway_upstream_auths, kernel)}
    return configuration_schema(plugins.settings_classes(), Definitions(kinds, auths))


def _literals(value: Any, path: str = "") -> Iterator[str]:
    """Where values stand that begin with `literal:`."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _literals(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _literals(inner, f"{path}[{number}]")
    elif isinstance(value, str) and value.startswith("literal:"):
        yield path.removeprefix(".")
