"""Plugins that come with the gateway: they live by the rules of all plugins and register through the same hooks."""

from __future__ import annotations

from typing import Any

from toolway.bundled.accounts.plugin import AccountsPlugin
from toolway.bundled.api.plugin import ApiPlugin
from toolway.bundled.defaults.plugin import DefaultsPlugin
from toolway.bundled.hypercorn.plugin import HypercornPlugin
from toolway.bundled.meters.plugin import MetersPlugin
from toolway.bundled.registry.plugin import RegistryPlugin
from toolway.bundled.stores.plugin import StoresPlugin
from toolway.bundled.upstreams.plugin import UpstreamsPlugin
from toolway.plugin import Plugin, Settings


def bundled_plugins(**accounts: float) -> list[Plugin[Any]]:
    """A new instance of each; they are always enabled, and give way to the plugins that the operator chose.

    `accounts` are the settings of the table `[accounts]`.
    """
    others = (DefaultsPlugin, HypercornPlugin, StoresPlugin, UpstreamsPlugin, RegistryPlugin, ApiPlugin, MetersPlugin)
    return [AccountsPlugin(Settings(), **accounts), *(each(Settings()) for each in others)]
