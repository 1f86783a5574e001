"""Loads the enabled plugins of one gateway: find, import, check the class, check the settings, register, collect."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from types import ModuleType
from typing import Any

import pluggy

from toolway import __version__
from toolway.errors import PluginError
from toolway.hookspecs import auth, caching, routing, secrets, system
from toolway.hookspecs.markers import PROJECT
from toolway.plugin.collect import Member, PluginInfo, Plugins
from toolway.plugin.discovery import GROUP, Installed, installed_plugins, mentions
from toolway.plugin.loading import check_hooks, configure, hooks_of, import_class
from toolway.plugin.plugin import Plugin
from toolway.validation import did_you_mean

SPECS: tuple[ModuleType, ...] = (auth, routing, secrets, caching, system)

FAIL_CLOSED = frozenset({"toolway_authenticators", "toolway_authorizers", "toolway_secret_schemes"})
"""Hooks that guard something: a plugin that implements one must load, or the gateway does not start."""

_log = logging.getLogger("toolway.plugin")


class PluginHost:
    """Loads plugins; `source` is how messages call the configuration."""

    def __init__(self, source: str = "toolway.toml", specs: Sequence[ModuleType] = SPECS, group: str = GROUP) -> None:
        self._source = source
        self._specs = specs
        self._group = group

    def load(
        self,
        enable: Sequence[str],
        optional: Iterable[str] = (),
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        builtins: Sequence[Plugin[Any]] = (),
    ) -> Plugins:
        """Load the plugins of `enable`, in that order, then the built-in ones.

        Args:
            enable: Names of entry points; nothing else is imported.
            optional: Those of `enable` that are quarantined when they fail.
            settings: The table of each plugin, as it was written.
            builtins: Instances of the gateway's own plugins.

        Raises:
            PluginError: one sentence (line) for each plugin that fails and is not optional.
        """
        plugins = self.examine(enable, optional, settings, builtins)
        if broken := [info.error for info in plugins.report() if info.state == "broken" and info.error]:
            raise PluginError("\n".join(broken))
        return plugins

    def examine(
        self,
        enable: Sequence[str],
        optional: Iterable[str] = (),
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        builtins: Sequence[Plugin[Any]] = (),
    ) -> Plugins:
        """Like `load`, but what fails only shows in the report; for listing and checking."""
        loading = _Loading(self._source, self._manager(), installed_plugins(self._group), frozenset(optional))
        tables = settings or {}
        loading.check_names(enable, tables)
        for name in dict.fromkeys(enable):
            loading.add(name, tables.get(name, {}))
        for plugin in builtins:
            loading.add_builtin(plugin)
        return loading.plugins()

    def _manager(self) -> pluggy.PluginManager:
        manager = pluggy.PluginManager(PROJECT)
        for module in self._specs:
            manager.add_hookspecs(module)
        return manager


class _Loading:
    """One run of the host: what is installed, loaded and failed so far."""

    def __init__(
        self,
        source: str,
        manager: pluggy.PluginManager,
        installed: Mapping[str, tuple[Installed, ...]],
        optional: frozenset[str],
    ) -> None:
        self._source = source
        self._manager = manager
        self._installed = installed
        self._optional = optional
        self._members: list[Member] = []
        self._infos: dict[str, PluginInfo] = {}

    def plugins(self) -> Plugins:
        rest = (claims[0] for name, claims in sorted(self._installed.items()) if name not in self._infos)
        others = [PluginInfo(each.name, "installed", each.distribution, each.version) for each in rest]
        return Plugins(self._manager, self._members, [*self._infos.values(), *others])

    def check_names(self, enable: Sequence[str], tables: Mapping[str, Any]) -> None:
        """Refuse names that nothing has: they would silently do nothing."""
        known = {*enable, *self._installed}
        places = [*((name, "plugins.optional names") for name in sorted(self._optional))]
        places += [(name, f"the table [plugins.{name}] is for") for name in tables]
        for name, place in places:
            if name not in known:
                guess = did_you_mean(name, known) or "remove it or enable that plugin"
                sentence = f"{self._source}: {place} {name!r}, which is neither enabled nor installed; {guess}"
                self._infos[name] = PluginInfo(name, "broken", error=sentence)

    def add(self, name: str, table: Mapping[str, Any]) -> None:
        claims = self._installed.get(name, ())
        if len(claims) != 1:
            self._infos[name] = PluginInfo(name, "broken", error=self._not_exactly_one(name, claims))
            return
        installed = claims[0]
        hooks: tuple[str, ...] = ()
        try:
            plugin_class = import_class(installed)
            hooks = hooks_of(plugin_class)
            self._load(installed, plugin_class, hooks, table)
        except PluginError as error:
            self._failed(installed, hooks, error.message)
        else:
            self._infos[name] = self._info(installed, hooks)

    def add_builtin(self, plugin: Plugin[Any]) -> None:
        name = f"{type(plugin).__module__}.{type(plugin).__qualname__}"
        self._manager.register(plugin, name)
        self._manager.check_pending()
        self._members.append(Member(name, "toolway", __version__, plugin, builtin=True))

    def _load(
        self, installed: Installed, plugin_class: type[Plugin[Any]], hooks: tuple[str, ...], table: Mapping[str, Any]
    ) -> None:
        check_hooks(installed, plugin_class, self._manager)
        optional = installed.name in self._optional
        if optional and (guarding := sorted(FAIL_CLOSED.intersection(hooks))):
            raise PluginError(
                f"{installed} implements {guarding[0]!r}, so it cannot be optional: without it the gateway would be "
                f"less guarded; remove {installed.name!r} from plugins.optional"
            )
        plugin = configure(installed, plugin_class, table, self._source)
        self._register(installed, plugin)
        self._members.append(
            Member(installed.name, installed.distribution, installed.version, plugin, optional=optional)
        )

    def _register(self, installed: Installed, plugin: Plugin[Any]) -> None:
        try:
            self._manager.register(plugin, installed.name)
            self._manager.check_pending()
        except (pluggy.PluginValidationError, ValueError) as error:
            self._manager.unregister(name=installed.name)
            reason = " ".join(str(error).split())
            raise PluginError(f"{installed} cannot be registered: {reason}; report it to its author") from error

    def _failed(self, installed: Installed, hooks: tuple[str, ...], sentence: str) -> None:
        optional = installed.name in self._optional
        state = "quarantined" if optional and not _may_guard(installed, hooks) else "broken"
        if state == "quarantined":
            _log.warning("optional plugin %s is quarantined: %s", installed.name, sentence)
        elif optional and "plugins.optional" not in sentence:
            sentence += " (it may guard something, so plugins.optional does not help)"
        self._infos[installed.name] = self._info(installed, hooks, state, sentence)

    def _not_exactly_one(self, name: str, claims: Sequence[Installed]) -> str:
        if claims:
            both = " and ".join(f"{each.distribution} {each.version}" for each in claims)
            return f"plugin {name!r} is offered more than once, by {both}; uninstall all but one"
        fix = f'run "pip install toolway-{name}" or remove it from plugins.enable'
        guess = did_you_mean(name, self._installed)
        return f"plugin {name!r} is enabled in {self._source} but not installed; {guess or fix}"

    def _info(
        self, installed: Installed, hooks: tuple[str, ...], state: Any = "enabled", error: str | None = None
    ) -> PluginInfo:
        return PluginInfo(installed.name, state, installed.distribution, installed.version, hooks, error)


def _may_guard(installed: Installed, hooks: tuple[str, ...]) -> bool:
    """Whether leaving the plugin out could open a door; also true when nobody can tell, and for misspelt hooks."""
    if hooks:
        return any(get_close_matches(hook, FAIL_CLOSED, n=1, cutoff=0.85) for hook in hooks)
    return mentions(installed, FAIL_CLOSED) is not False
