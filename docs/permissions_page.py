"""The page of permissions, made from the operations of a gateway with the plugins of identity."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path

from toolway.hookspecs.api import Operation

PLUGINS = (
    "audit",
    "autotune",
    "balancer",
    "breaker",
    "cache",
    "diagnostics",
    "json-logging",
    "otel",
    "prometheus",
    "prompts",
    "rate-limit",
    "rbac",
    "reload",
    "rest",
    "server-keys",
    "tokens",
    "transfer",
)
CONNECT = "servers:connect"
USES = {
    "tools:call": "`tools/call`, and to see a tool in `tools/list`",
    "prompts:get": "`prompts/get`, completions of its arguments, and to see a prompt in `prompts/list`",
    "resources:read": "`resources/read`, subscriptions, completions, and to see a resource or template in its list",
    CONNECT: "every request to a virtual server",
    "teams:manage": "the administration of a team by its owner: its members and their bindings",
}

HEAD = """# Permissions

A permission is `action:pattern`, such as `tools:call:billing/*`: the action is an area and a verb, the pattern is over
names, and `*` in it matches anything. `area:*:pattern` is every action of an area, `admin:*` is everything. Names are
those of objects; items are called `upstream/item`. [Decide who may do what](../how-to/rbac.md) says how they are given.

An operation on a whole collection, such as making an object, asks for the permission on the object's name. Operations
that every holder of a credential may do, about what is their own, ask for no permission, nor do public ones.
"""


def permissions_page() -> str:
    """Every action with what asks for it, and the built-in roles."""
    asked: dict[str, list[str]] = {action: [uses] for action, uses in USES.items()}
    for one in operations():
        if ":" in one.permission:
            asked.setdefault(one.permission, []).append(f"`{one.name}`")
    rows = [f"| `{action}` | {', '.join(asked[action])} |" for action in sorted(asked)]
    return "\n".join([HEAD, "## Actions\n", "| action | asked for by |\n|---|---|", *rows, *_roles()])


def operations() -> Sequence[Operation]:
    """Those of a gateway with every plugin of identity that is installed."""
    return asyncio.run(_operations())


def enabled() -> list[str]:
    """The plugins of identity that are installed."""
    installed = {each.name for each in entry_points(group="toolway.plugins")}
    return [name for name in PLUGINS if name in installed]


async def _operations() -> Sequence[Operation]:
    from toolway.app import build_gateway
    from toolway.config import Config, GatewaySettings, PluginTables
    from toolway.keep import Keeper

    with tempfile.TemporaryDirectory() as directory:
        settings = GatewaySettings(data_dir=Path(directory) / "data")
        config = Config(gateway=settings, plugins=PluginTables(enable=enabled()))
        gateway = await build_gateway(config, Keeper().holder())
        async with gateway.running():
            return gateway.kernel.operations


def _roles() -> list[str]:
    from toolway_rbac.definitions import BUILTIN_ROLES

    rows = [
        f"| `{role.name}` | {role.description} | {', '.join(f'`{each}`' for each in role.permissions)} |"
        for role in BUILTIN_ROLES.values()
    ]
    return ["\n## Built-in roles\n", "| role | meaning | permissions |\n|---|---|---|", *rows]
