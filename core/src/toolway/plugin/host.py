"""The plugins of one gateway: loads the enabled ones, and hands out their providers in configuration order."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec
import pluggy

from toolway import __version__
from toolway.errors import ConfigError, PluginError
from toolway.hookspecs.markers import PROJECT
from toolway.plugin.hooks import CHOSEN_BY, HOOKS, SPECS, Hook, Provided, check_hooks, hooks_of, may_guard
from toolway.plugin.installed import Origin, configure, import_class, installed_plugins
from toolway.plugin.plugin import Plugin, Settings
from toolway.validation import did_you_mean

if TYPE_CHECKING:
    from toolway.plugin.kernel import Kernel

P = TypeVar("P")
Builtin = Literal["first", "last"]
State = Literal["installed", "enabled", "broken", "quarantined"]
_log = logging.getLogger("toolway.plugin")


class PluginInfo(msgspec.Struct):
    """One line of `toolway plugins`. `hooks` is empty for what was not imported."""

    name: str
    state: State
    distribution: str = ""
    version: str = ""
    hooks: tuple[str, ...] = ()
    error: str = ""


class Plugins:
    """The plugins of one gateway. `load` them, then collect each hook once, while the gateway is built."""

    def __init__(self, source: str, optional: Iterable[str]) -> None:
        self._source = source
        self._optional = frozenset(optional)
        self._installed = installed_plugins()
        self._infos: dict[str, PluginInfo] = {}
        self._origins: dict[str, Origin] = {}
        self._manager = pluggy.PluginManager(PROJECT)
        for module in SPECS:
            self._manager.add_hookspecs(module)

    @classmethod
    def load(
        cls,
        enable: Sequence[str],
        optional: Iterable[str] = (),
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        builtins: Sequence[Plugin[Any]] = (),
        source: str = "toolway.toml",
    ) -> Plugins:
        """Load the plugins of `enable`, in that order, then the gateway's own. What is broken is only reported.

        Args:
            enable: Names of entry points; nothing else is imported.
            optional: Those of `enable` that are quarantined when they fail.
            settings: The table of each plugin, as it was written.
            builtins: Instances of the gateway's own plugins.
            source: How messages call the configuration.
        """
        plugins, tables = cls(source, optional), settings or {}
        plugins._check_names(enable, tables)
        for name in dict.fromkeys(enable):
            plugins._add(name, tables.get(name, {}))
        for plugin in builtins:
            plugins._register(Origin(type(plugin).__name__, "toolway", __version__), plugin)
        for name, (origin, *_) in sorted(plugins._installed.items()):
            plugins._infos.setdefault(name, _info(origin, "installed"))
        return plugins

    def refuse_broken(self) -> None:
        """Raise PluginError with one sentence (line) for each plugin that failed and is not optional."""
        if broken := [info.error for info in self.report() if info.state == "broken"]:
            raise PluginError("\n".join(broken))

    def report(self) -> list[PluginInfo]:
        """Every installed plugin and every enabled one: enabled first, in their order, then the others by name."""
        return list(self._infos.values())

    @property
    def quarantined(self) -> tuple[str, ...]:
        """Names of optional plugins that failed so far."""
        return tuple(info.name for info in self.report() if info.state == "quarantined")

    def settings_classes(self) -> dict[str, type[Settings]]:
        """The settings model of every enabled plugin, for the JSON Schema."""
        plugins: dict[str, Plugin[Any] | None] = {name: self._manager.get_plugin(name) for name in self._infos}
        return {name: plugin.settings_class for name, plugin in plugins.items() if plugin is not None}

    def implement(self, hook: Callable[..., Any]) -> bool:
        """Whether a plugin other than the gateway's own implements a hook; nothing is asked of it yet."""
        found = getattr(self._manager.hook, hook.__name__).get_hookimpls()
        return any(self._origins[each.plugin_name].entry_point is not None for each in found)

    def collect(
        self, hook: Callable[..., Iterable[P]], kernel: Kernel | None, builtin: Builtin = "last"
    ) -> tuple[P, ...]:
        """The providers of a hook, first enabled first.

        `builtin` says where the gateway's own come: after the plugins' or before them.

        Raises:
            PluginError: a hook of a plugin that is not optional failed, or two providers have one name.
        """
        return tuple(each.provider for each in self.provided(hook, kernel, builtin))

    def provided(
        self, hook: Callable[..., Iterable[P]], kernel: Kernel | None, builtin: Builtin = "last"
    ) -> list[Provided[P]]:
        """Like `collect`, with the plugin that each provider comes from."""
        name = hook.__name__
        functions = {each.plugin_name: each.function for each in getattr(self._manager.hook, name).get_hookimpls()}
        asked = [self._origins[plugin] for plugin in self._origins if plugin in functions]
        every = [each for origin in asked for each in self._ask(HOOKS[name], origin, functions[origin.name], kernel)]
        _refuse_duplicates(HOOKS[name], every)
        foreign, own = [each for each in every if not each.builtin], [each for each in every if each.builtin]
        return own + foreign if builtin == "first" else foreign + own

    def one(
        self, hook: Callable[..., Iterable[P]], kernel: Kernel | None, chosen: str | None, default: str | None = None
    ) -> P:
        """The one that acts: see `acting`."""
        return self.acting(hook, kernel, chosen, default).provider

    def acting(
        self, hook: Callable[..., Iterable[P]], kernel: Kernel | None, chosen: str | None, default: str | None = None
    ) -> Provided[P]:
        """The one provider that acts: the `chosen` name, else the only one of a plugin, else the built-in `default`.

        Without `default` the first built-in one is it.

        Raises:
            ConfigError: nothing has the chosen name, or several plugins offer one and none is chosen.
        """
        every = self.provided(hook, kernel)
        named = {each.name: each for each in every}
        setting = CHOSEN_BY[hook.__name__]
        if chosen is not None and chosen not in named:
            next_step = did_you_mean(chosen, named) or f"available: {', '.join(sorted(named))}"
            raise ConfigError(f"{setting} is {chosen!r}, which nothing provides; {next_step}")
        foreign = [each for each in every if not each.builtin]
        if chosen is None and len(foreign) > 1:
            offers = " and ".join(f"{each.name!r} of {each.origin}" for each in foreign)
            raise ConfigError(f"several plugins offer what only one can do: {offers}; choose one with {setting}")
        return named[chosen] if chosen else foreign[0] if foreign else named[default or every[0].name]

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
        """Bring an enabled plugin from its entry point to an instance, or say why it cannot be."""
        claims = self._installed.get(name, ())
        if len(claims) != 1:
            self._infos[name] = PluginInfo(name, "broken", error=self._not_exactly_one(name, claims))
            return
        [origin] = claims
        info = self._infos[name] = _info(origin, "enabled")
        try:
            plugin_class = import_class(origin)
            info.hooks = tuple(hook for hook, options in hooks_of(plugin_class).items() if options is not None)
            check_hooks(origin, plugin_class, name in self._optional)
            self._register(origin, configure(origin, plugin_class, table, self._source))
        except PluginError as error:
            self._fail(info, origin, error.message)

    def _not_exactly_one(self, name: str, claims: Sequence[Origin]) -> str:
        if claims:
            both = " and ".join(f"{each.distribution} {each.version}" for each in claims)
            return f"plugin {name!r} is offered more than once, by {both}; uninstall all but one"
        fix = did_you_mean(name, self._installed) or "install its package, or remove it from plugins.enable"
        return f"plugin {name!r} is enabled in {self._source} but not installed; {fix}"

    def _register(self, origin: Origin, plugin: Plugin[Any]) -> None:
        self._manager.register(plugin, origin.name)
        self._manager.check_pending()
        self._origins[origin.name] = origin

    def _fail(self, info: PluginInfo, origin: Origin, sentence: str) -> None:
        """Quarantine what is optional and guards nothing; anything else is broken."""
        info.state, info.error = "broken", sentence
        if info.name not in self._optional:
            return
        if origin.entry_point is None or may_guard(origin.entry_point, info.hooks):
            if "plugins.optional" not in sentence:
                info.error += " (it may guard something, so plugins.optional does not help)"
            return
        info.state = "quarantined"
        _log.warning("optional plugin %s is quarantined: %s", info.name, sentence)

    def _ask(
        self, hook: Hook, origin: Origin, function: Callable[..., Any], kernel: Kernel | None
    ) -> list[Provided[Any]]:
        """What one plugin provides; nothing when it is quarantined."""
        if origin.name in self.quarantined:
            return []
        try:
            return [Provided(origin, name, provider) for name, provider in hook.ask(function, kernel)]
        except PluginError as error:
            sentence = f"{origin}: {error.message}"
            if origin.name not in self._optional:
                raise PluginError(sentence) from error
            self._fail(self._infos[origin.name], origin, sentence)
            return []


def _info(origin: Origin, state: State) -> PluginInfo:
    return PluginInfo(origin.name, state, origin.distribution, origin.version)


def _refuse_duplicates(hook: Hook, every: Sequence[Provided[Any]]) -> None:
    seen: dict[str, Provided[Any]] = {}
    for each in every:
        if (other := seen.setdefault(each.name, each)) is not each:
            raise PluginError(
                f"{other.origin} and {each.origin} both provide a {hook.type.__name__} with the {hook.naming} "
                f"{each.name!r}; remove one of them from plugins.enable or let it use another {hook.naming}"
            )
