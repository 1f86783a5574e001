"""The plugins of one gateway after loading: calls their hooks and hands out the providers in configuration order."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from inspect import signature
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import pluggy

from toolway.errors import ConfigError, PluginError
from toolway.plugin.discovery import Origin
from toolway.plugin.loading import cause
from toolway.plugin.plugin import Plugin, Settings
from toolway.plugin.providers import Contract, Provided
from toolway.validation import did_you_mean

if TYPE_CHECKING:
    from toolway.plugin.kernel import Kernel

P = TypeVar("P")
Builtin = Literal["first", "last", "fallback"]
State = Literal["installed", "enabled", "broken", "quarantined"]
_log = logging.getLogger("toolway.plugin")

CHOSEN_BY = {
    "toolway_balancers": "gateway.balancer",
    "toolway_keyvalue_stores": "gateway.keyvalue",
    "toolway_pubsubs": "gateway.pubsub",
    "toolway_server_runners": "gateway.server",
}
"""Hooks of which one provider acts, and the setting that names it."""


@dataclass(frozen=True)
class PluginInfo:
    """One line of `toolway plugins`. `hooks` is empty for what was not imported."""

    name: str
    state: State
    distribution: str = ""
    version: str = ""
    hooks: tuple[str, ...] = ()
    error: str | None = None


@dataclass(frozen=True)
class Member:
    """A loaded plugin; `optional` ones are quarantined when a hook of theirs fails."""

    origin: Origin
    plugin: Plugin[Any]
    optional: bool = False


class Plugins:
    """What the host loaded for one gateway. Collect each hook once, while the gateway is built."""

    def __init__(self, manager: pluggy.PluginManager, members: Sequence[Member], infos: Sequence[PluginInfo]) -> None:
        self._manager = manager
        self._members = {member.origin.name: member for member in members}
        self._infos = {info.name: info for info in infos}

    def report(self) -> list[PluginInfo]:
        """Every installed plugin and every enabled one: enabled first, in their order, then the others by name."""
        return list(self._infos.values())

    @property
    def quarantined(self) -> tuple[str, ...]:
        """Names of optional plugins that failed so far."""
        return tuple(info.name for info in self._infos.values() if info.state == "quarantined")

    def settings_classes(self) -> dict[str, type[Settings]]:
        """The settings model of every enabled plugin, for the JSON Schema."""
        return {name: m.plugin.settings_class for name, m in self._members.items() if m.origin.entry_point}

    def collect(
        self, hook: Callable[..., Iterable[P]], kernel: Kernel | None, builtin: Builtin = "last"
    ) -> tuple[P, ...]:
        """The providers of a hook, first enabled first.

        `builtin` says where the gateway's own come: after the plugins', before them, or only when there are no others.

        Raises:
            PluginError: a hook of a plugin that is not optional failed, or two providers have one name.
        """
        return tuple(each.provider for each in self.provided(hook, kernel, builtin))

    def provided(
        self, hook: str | Callable[..., Iterable[P]], kernel: Kernel | None, builtin: Builtin = "last"
    ) -> list[Provided[P]]:
        """Like `collect`, with the plugin that each provider comes from; `hook` may be given by its name."""
        caller = getattr(self._manager.hook, hook if isinstance(hook, str) else hook.__name__)
        contract = Contract(caller.spec.function)
        functions = {impl.plugin_name: impl.function for impl in caller.get_hookimpls()}
        asked = [(self._members[name], functions[name]) for name in self._members if name in functions]
        every = [each for member, function in asked for each in self._call(contract, member, function, kernel)]
        _refuse_duplicates(contract, every)
        foreign, own = [each for each in every if not each.builtin], [each for each in every if each.builtin]
        if builtin == "fallback":
            return foreign or own
        return own + foreign if builtin == "first" else foreign + own

    def one(
        self, hook: Callable[..., Iterable[P]], kernel: Kernel | None, chosen: str | None, default: str | None = None
    ) -> P:
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
        return (named[chosen] if chosen else foreign[0] if foreign else named[default or every[0].name]).provider

    def _call(
        self, contract: Contract, member: Member, function: Callable[..., Any], kernel: Kernel | None
    ) -> list[Provided[Any]]:
        """What one plugin provides; nothing when it is quarantined."""
        if member.origin.name in self.quarantined:
            return []
        try:
            return _provided(contract, member.origin, function, kernel)
        except PluginError as error:
            complaint = f"{member.origin}: {error.message}"
            if not member.optional:
                raise PluginError(complaint) from error
            _log.warning("optional plugin %s is quarantined: %s", member.origin.name, complaint)
            info = self._infos[member.origin.name]
            self._infos[info.name] = replace(info, state="quarantined", error=complaint)
            return []


def _provided(
    contract: Contract, origin: Origin, function: Callable[..., Any], kernel: Kernel | None
) -> list[Provided[Any]]:
    arguments = {"kernel": kernel} if "kernel" in signature(function).parameters else {}
    try:
        return contract.provided(origin, function(**arguments))
    except PluginError:
        raise
    except (Exception, SystemExit) as error:
        reason = f"hook {contract.hook!r} failed: {cause(error)}; see its documentation or report it to its author"
        raise PluginError(reason) from error


def _refuse_duplicates(contract: Contract, every: Sequence[Provided[Any]]) -> None:
    seen: dict[str, Provided[Any]] = {}
    for each in every:
        if (other := seen.setdefault(each.name, each)) is not each:
            raise PluginError(
                f"{other.origin} and {each.origin} both provide a {contract.type.__name__} with the {contract.naming} "
                f"{each.name!r}; remove one of them from plugins.enable or let it use another {contract.naming}"
            )
