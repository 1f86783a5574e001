"""The plugins of one gateway after loading: calls their hooks and hands out the providers in configuration order."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import pluggy

from toolway.errors import ConfigError, PluginError
from toolway.plugin.loading import cause
from toolway.plugin.plugin import Plugin, Settings
from toolway.plugin.providers import Contract, Provided
from toolway.validation import did_you_mean

if TYPE_CHECKING:
    from toolway.plugin.kernel import Kernel

P = TypeVar("P")
Builtin = Literal["first", "last", "fallback"]
_log = logging.getLogger("toolway.plugin")

CHOSEN_BY = {
    "toolway_balancers": "gateway.balancer",
    "toolway_keyvalue_stores": "gateway.keyvalue",
    "toolway_pubsubs": "gateway.pubsub",
}
"""Hooks of which one provider acts, and the setting that names it."""


@dataclass(frozen=True)
class PluginInfo:
    """One line of `toolway plugins`. `hooks` is empty for what was not imported."""

    name: str
    state: Literal["installed", "enabled", "broken", "quarantined"]
    distribution: str = ""
    version: str = ""
    hooks: tuple[str, ...] = ()
    error: str | None = None


@dataclass(frozen=True)
class Member:
    """A loaded plugin; `optional` ones are quarantined when a hook of theirs fails."""

    name: str
    distribution: str
    version: str
    plugin: Plugin[Any]
    optional: bool = False
    builtin: bool = False

    def __str__(self) -> str:
        return f"plugin {self.name!r} ({self.distribution} {self.version})"


class Plugins:
    """What the host loaded for one gateway. Collect each hook once, while the gateway is built."""

    def __init__(self, manager: pluggy.PluginManager, members: Sequence[Member], infos: Sequence[PluginInfo]) -> None:
        self._manager = manager
        self._members = {member.name: member for member in members}
        self._order = {member.name: place for place, member in enumerate(members)}
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
        return {m.name: m.plugin.settings_class for m in self._members.values() if not m.builtin}

    @overload
    def collect(
        self, hook: Callable[..., Iterable[P]], kernel: Kernel | None, builtin: Builtin = ...
    ) -> tuple[P, ...]: ...
    @overload
    def collect(self, hook: str, kernel: Kernel | None, builtin: Builtin = ...) -> tuple[Any, ...]: ...
    def collect(self, hook: Any, kernel: Kernel | None, builtin: Builtin = "last") -> tuple[Any, ...]:
        """The providers of a hook (its name, or the hookspec itself, which types the result), first enabled first.

        `builtin` says where the gateway's own come: after the plugins', before them, or only when there are no others.

        Raises:
            PluginError: a hook of a plugin that is not optional failed, or two providers have one name.
        """
        return tuple(each.provider for each in self.provided(hook, kernel, builtin))

    def provided(
        self, hook: str | Callable[..., Any], kernel: Kernel | None, builtin: Builtin = "last"
    ) -> tuple[Provided[Any], ...]:
        """Like `collect`, with the plugin that each provider comes from."""
        caller = getattr(self._manager.hook, hook if isinstance(hook, str) else hook.__name__)
        contract = Contract(caller.spec.function)
        impls = sorted(caller.get_hookimpls(), key=lambda impl: self._order[impl.plugin_name])
        every = [each for impl in impls for each in self._call(contract, impl, kernel)]
        _refuse_duplicates(contract, every)
        return _arranged(every, builtin)

    @overload
    def one(
        self, hook: Callable[..., Iterable[P]], kernel: Kernel | None, chosen: str | None, default: str | None = ...
    ) -> P: ...
    @overload
    def one(self, hook: str, kernel: Kernel | None, chosen: str | None, default: str | None = ...) -> Any: ...
    def one(self, hook: Any, kernel: Kernel | None, chosen: str | None, default: str | None = None) -> Any:
        """The one provider that acts: the `chosen` name, else the only one of a plugin, else the built-in `default`.

        Without `default` the first built-in one is it.

        Raises:
            ConfigError: nothing has the chosen name, or several plugins offer one and none is chosen.
        """
        every = self.provided(hook, kernel)
        name = hook if isinstance(hook, str) else hook.__name__
        return _chosen(every, CHOSEN_BY.get(name, name), chosen, default).provider

    def _call(self, contract: Contract, impl: pluggy.HookImpl, kernel: Kernel | None) -> Iterator[Provided[Any]]:
        member = self._members[impl.plugin_name]
        if member.name in self.quarantined:
            return
        try:
            items = self._items(contract, impl, kernel)
        except PluginError as error:
            complaint = PluginError(f"{member}: {error.message}")
            if not member.optional:
                raise complaint from error
            self._quarantine(member, complaint.message)
            return
        for item in items:
            yield Provided(member.name, member.distribution, member.version, item, contract.name(item), member.builtin)

    def _items(self, contract: Contract, impl: pluggy.HookImpl, kernel: Kernel | None) -> tuple[Any, ...]:
        arguments = {"kernel": kernel} if "kernel" in (*impl.argnames, *impl.kwargnames) else {}
        try:
            return contract.items(impl.function(**arguments))
        except PluginError:
            raise
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"hook {contract.hook!r} failed: {cause(error)}; see its documentation or report it to its author"
            ) from error

    def _quarantine(self, member: Member, sentence: str) -> None:
        _log.warning("optional plugin %s is quarantined: %s", member.name, sentence)
        self._infos[member.name] = replace(self._infos[member.name], state="quarantined", error=sentence)


def _arranged(every: Sequence[Provided[Any]], builtin: Builtin) -> tuple[Provided[Any], ...]:
    foreign = tuple(each for each in every if not each.builtin)
    own = tuple(each for each in every if each.builtin)
    if builtin == "fallback":
        return foreign or own
    return (*own, *foreign) if builtin == "first" else (*foreign, *own)


def _refuse_duplicates(contract: Contract, every: Sequence[Provided[Any]]) -> None:
    seen: dict[str, Provided[Any]] = {}
    for each in every:
        if (other := seen.setdefault(each.name, each)) is not each:
            raise PluginError(
                f"{other.origin} and {each.origin} both provide a {contract.type.__name__} with the {contract.naming} "
                f"{each.name!r}; remove one of them from plugins.enable or let it use another {contract.naming}"
            )


def _chosen(every: Sequence[Provided[Any]], setting: str, chosen: str | None, default: str | None) -> Provided[Any]:
    named: Mapping[str, Provided[Any]] = {each.name: each for each in every}
    if chosen is not None:
        if chosen not in named:
            next_step = did_you_mean(chosen, named) or f"available: {', '.join(sorted(named))}"
            raise ConfigError(f"{setting} is {chosen!r}, which nothing provides; {next_step}")
        return named[chosen]
    foreign = [each for each in every if not each.builtin]
    if len(foreign) > 1:
        offers = " and ".join(f"{each.name!r} of {each.origin}" for each in foreign)
        raise ConfigError(f"several plugins offer what only one can do: {offers}; choose one with {setting}")
    if foreign:
        return foreign[0]
    own = [each for each in every if default in (None, each.name)]
    if not own:
        raise ConfigError(f"nothing provides {setting}; enable a plugin that does")
    return own[0]
