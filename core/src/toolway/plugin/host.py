"""Loads the enabled plugins of one gateway: find, import, check the class, check the settings, register."""

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
from toolway.plugin.collect import Member, PluginInfo, Plugins, State
from toolway.plugin.discovery import Origin, installed_plugins, mentions
from toolway.plugin.loading import check_hooks, configure, hooks_of, import_class
from toolway.plugin.plugin import Plugin
from toolway.validation import did_you_mean

SPECS: tuple[ModuleType, ...] = (auth, routing, secrets, caching, system)

FAIL_CLOSED = frozenset({"toolway_authenticators", "toolway_authorizers", "toolway_secret_schemes"})
"""Hooks that guard something: a plugin that implements one must load, or the gateway does not start."""

_log = logging.getLogger("toolway.plugin")


class PluginHost:
    """Loads the plugins of one gateway; `source` is how messages call the configuration."""

    def __init__(self, source: str = "toolway.toml") -> None:
        self._source = source
        self._manager = pluggy.PluginManager(PROJECT)
        for module in SPECS:
            self._manager.add_hookspecs(module)
        self._installed = installed_plugins()
        self._optional: frozenset[str] = frozenset()
        self._members: list[Member] = []
        self._infos: dict[str, PluginInfo] = {}

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
        self._optional = frozenset(optional)
        tables = settings or {}
        self._check_names(enable, tables)
        for name in dict.fromkeys(enable):
            self._add(name, tables.get(name, {}))
        for plugin in builtins:
            self._register(Member(Origin(type(plugin).__name__, "toolway", __version__), plugin))
        for name, (origin, *_) in sorted(self._installed.items()):
            if name not in self._infos:
                self._tell(origin, "installed")
        return Plugins(self._manager, self._members, list(self._infos.values()))

    def _check_names(self, enable: Sequence[str], tables: Mapping[str, Any]) -> None:
        """Refuse names that nothing has: they would silently do nothing."""
        known = {*enable, *self._installed}
        places = [(name, "plugins.optional names") for name in sorted(self._optional)]
        places += [(name, f"the table [plugins.{name}] is for") for name in tables]
        for name, place in places:
            if name not in known:
                guess = did_you_mean(name, known) or "remove it or enable that plugin"
                sentence = f"{self._source}: {place} {name!r}, which is neither enabled nor installed; {guess}"
                self._infos[name] = PluginInfo(name, "broken", error=sentence)

    def _add(self, name: str, table: Mapping[str, Any]) -> None:
        claims = self._installed.get(name, ())
        if len(claims) != 1:
            self._infos[name] = PluginInfo(name, "broken", error=self._not_exactly_one(name, claims))
            return
        [origin] = claims
        hooks: tuple[str, ...] = ()
        try:
            plugin_class = import_class(origin)
            hooks = hooks_of(plugin_class)
            self._load(origin, plugin_class, hooks, table)
        except PluginError as error:
            self._failed(origin, hooks, error.message)
        else:
            self._tell(origin, "enabled", hooks)

    def _load(
        self, origin: Origin, plugin_class: type[Plugin[Any]], hooks: tuple[str, ...], table: Mapping[str, Any]
    ) -> None:
        specs = {spec.name: tuple(spec.spec.argnames) for spec in vars(self._manager.hook).values() if spec.spec}
        check_hooks(origin, plugin_class, specs)
        is_optional = origin.name in self._optional
        if is_optional and (guarding := sorted(FAIL_CLOSED.intersection(hooks))):
            raise PluginError(
                f"{origin} implements {guarding[0]!r}, so it cannot be optional: without it the gateway would be "
                f"less guarded; remove {origin.name!r} from plugins.optional"
            )
        self._register(Member(origin, configure(origin, plugin_class, table, self._source), is_optional))

    def _register(self, member: Member) -> None:
        self._manager.register(member.plugin, member.origin.name)
        self._manager.check_pending()
        self._members.append(member)

    def _failed(self, origin: Origin, hooks: tuple[str, ...], sentence: str) -> None:
        is_optional = origin.name in self._optional
        if is_optional and not _may_guard(origin, hooks):
            _log.warning("optional plugin %s is quarantined: %s", origin.name, sentence)
            self._tell(origin, "quarantined", hooks, sentence)
            return
        if is_optional and "plugins.optional" not in sentence:
            sentence += " (it may guard something, so plugins.optional does not help)"
        self._tell(origin, "broken", hooks, sentence)

    def _not_exactly_one(self, name: str, claims: Sequence[Origin]) -> str:
        if claims:
            both = " and ".join(f"{each.distribution} {each.version}" for each in claims)
            return f"plugin {name!r} is offered more than once, by {both}; uninstall all but one"
        fix = f'run "pip install toolway-{name}" or remove it from plugins.enable'
        guess = did_you_mean(name, self._installed)
        return f"plugin {name!r} is enabled in {self._source} but not installed; {guess or fix}"

    def _tell(self, origin: Origin, state: State, hooks: tuple[str, ...] = (), error: str | None = None) -> None:
        self._infos[origin.name] = PluginInfo(origin.name, state, origin.distribution, origin.version, hooks, error)


def _may_guard(origin: Origin, hooks: tuple[str, ...]) -> bool:
    """Whether leaving the plugin out could open a door; also true when nobody can tell, and for misspelt hooks."""
    if hooks:
        return any(get_close_matches(hook, FAIL_CLOSED, n=1, cutoff=0.85) for hook in hooks)
    return origin.entry_point is None or mentions(origin.entry_point, FAIL_CLOSED)
