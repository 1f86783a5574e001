"""The table of hooks: how a plugin implements each, and what the providers that it returns must be."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar, get_args, get_type_hints

import msgspec
import pluggy

from toolway.errors import PluginError
from toolway.hookspecs import api, attempts, auth, caching, routing, secrets, system, telemetry
from toolway.hookspecs.markers import PROJECT
from toolway.plugin.installed import Origin, cause
from toolway.validation import did_you_mean

P = TypeVar("P")

SPECS: tuple[ModuleType, ...] = (auth, routing, attempts, secrets, caching, telemetry, system, api)

_GUARDS = ("authenticators", "authorizers", "password_verifiers", "secret_schemes", "change_recorders", "redactors")
FAIL_CLOSED = frozenset(f"toolway_{each}" for each in _GUARDS)
"""Hooks that guard something: a plugin that implements one must load, or the gateway does not start."""

_SETTINGS = {"balancers": "balancer", "keyvalue_stores": "keyvalue", "pubsubs": "pubsub", "server_runners": "server"}
CHOSEN_BY = {f"toolway_{hook}": f"gateway.{setting}" for hook, setting in _SETTINGS.items()}
"""Hooks of which one provider acts, and the setting that names it."""


class Provided(msgspec.Struct, Generic[P], frozen=True):
    """A provider, what it is called, and where it comes from."""

    origin: Origin
    name: str
    provider: P

    @property
    def builtin(self) -> bool:
        """Whether it is part of the gateway itself."""
        return self.origin.entry_point is None


class Hook:
    """One hook as its hookspec declares it: the arguments, and the type of the providers."""

    def __init__(self, hookspec: Callable[..., Any]) -> None:
        self.name, self.arguments = hookspec.__name__, list(inspect.signature(hookspec).parameters)
        self.type: type = get_args(get_type_hints(hookspec, localns={"Kernel": object})["return"])[0]
        self.members = _members(self.type)
        self.naming = next((each for each in ("scheme", "type", "kind") if each in self.members), "name")

    def check(self, origin: Origin, implementation: Callable[..., Any]) -> None:
        """Refuse what pluggy would accept or half explain: coroutines and other arguments."""
        if inspect.iscoroutinefunction(implementation) or inspect.isasyncgenfunction(implementation):
            todo = "write `def`, and do what must be awaited in the provider it returns"
            raise PluginError(f"{origin}: hook {self.name!r} is async; {todo}")
        signature = inspect.signature(implementation).replace(return_annotation=inspect.Signature.empty)
        given = [each.name for each in signature.parameters.values() if each.kind is each.POSITIONAL_OR_KEYWORD]
        if len(given) < len(signature.parameters) or given not in (["self"], ["self", *self.arguments]):
            expected = ", ".join(("self", *self.arguments))
            raise PluginError(f"{origin}: hook {self.name!r} takes ({expected}), not {signature}; change its arguments")

    def ask(self, implementation: Callable[..., Any], kernel: object) -> list[tuple[str, Any]]:
        """Name and provider of all that an implementation returns; PluginError has the sentence after the plugin."""
        arguments = {"kernel": kernel} if "kernel" in inspect.signature(implementation).parameters else {}
        try:
            returned = implementation(**arguments)
            found = list(returned) if _is_list(returned) else None
        except PluginError:
            raise
        except (Exception, SystemExit) as error:
            todo = "see its documentation or report it to its author"
            raise PluginError(f"hook {self.name!r} failed: {cause(error, kernel)}; {todo}") from error
        if found is None:
            raise PluginError(f"hook {self.name!r} must return a list of {self.type.__name__}, not {_type(returned)}")
        return [(self._name(provider), provider) for provider in found]

    def _name(self, provider: Any) -> str:
        if complaint := self._complaint(provider):
            raise PluginError(f"hook {self.name!r} returned {_type(provider)}, {complaint}")
        return str(getattr(provider, self.naming))

    def _complaint(self, provider: Any) -> str:
        """Why it is not a provider of this type, or nothing."""
        if isinstance(provider, type):
            return "which is a class; return an instance of it"
        if missing := [member for member in self.members if not hasattr(provider, member)]:
            return f"which is not a {self.type.__name__}: it lacks {', '.join(map(repr, missing))}; add what is missing"
        name = getattr(provider, self.naming)
        if not isinstance(name, str) or not name:
            return f"whose {self.naming!r} is not a text; give it a name"
        if coroutines := [member for member in self.members if self._is_wrongly_async(provider, member)]:
            return f"whose {', '.join(map(repr, coroutines))} is async where {self.type.__name__} is not; write `def`"
        return ""

    def _is_wrongly_async(self, provider: Any, member: str) -> bool:
        """A coroutine where a value is expected would always be true: `decide` would never deny."""
        declared = getattr(self.type, member, None)
        is_plain = inspect.isfunction(declared) and not inspect.iscoroutinefunction(declared)
        return is_plain and inspect.iscoroutinefunction(getattr(provider, member))


def _members(expected: type) -> list[str]:
    """Attributes and methods that a Protocol (or a data class) of ours asks for."""
    ours = [parent for parent in expected.__mro__ if parent.__module__.startswith("toolway.")]
    names = {name for parent in ours for name in (*inspect.get_annotations(parent), *vars(parent))}
    return sorted(name for name in names if not name.startswith("_") or name == "__call__")


def _is_list(returned: Any) -> bool:
    return isinstance(returned, Iterable) and not isinstance(returned, str | bytes | Mapping)


def _type(value: Any) -> str:
    """A value by its type only: what it holds may be secret."""
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__


HOOKS = {name: Hook(each) for module in SPECS for name, each in vars(module).items() if name.startswith(f"{PROJECT}_")}
"""Every hook by name."""


def hooks_of(plugin_class: type) -> dict[str, Any]:
    """The hooks that a class implements, in alphabetical order, with the options of their marker: None without one."""
    reader = pluggy.PluginManager(PROJECT)
    found = {name: reader.parse_hookimpl_opts(plugin_class, name) for name in dir(plugin_class)}
    return {name: each for name, each in found.items() if each is not None or name.startswith(f"{PROJECT}_")}


def check_hooks(origin: Origin, plugin_class: type, is_optional: bool) -> None:
    """Refuse typos, forgotten markers, wrappers, other arguments, and guards that are optional; raises PluginError."""
    implemented = hooks_of(plugin_class)
    for name, options in implemented.items():
        if options is None:
            raise PluginError(f"{origin}: method {name!r} is not marked; put @hookimpl above it or rename it")
        if name not in HOOKS:
            guess = did_you_mean(name, HOOKS) or "see the reference of hooks"
            raise PluginError(f"{origin} implements unknown hook {name!r}; {guess}")
        if options["wrapper"] or options["hookwrapper"]:
            raise PluginError(f"{origin} wraps hook {name!r}; hooks only register providers, so return them instead")
        HOOKS[name].check(origin, getattr(plugin_class, name))
    if is_optional and (guarding := sorted(FAIL_CLOSED.intersection(implemented))):
        raise PluginError(
            f"{origin} implements {guarding[0]!r}, so it cannot be optional: without it the gateway would be "
            f"less guarded; remove {origin.name!r} from plugins.optional"
        )


def may_guard(entry_point: EntryPoint, hooks: tuple[str, ...]) -> bool:
    """Whether leaving a plugin out could open a door; also true when nobody can tell, and for misspelt hooks.

    Of what could not be imported (it has no hooks) the source is searched.
    """
    if hooks:
        return any(get_close_matches(hook, FAIL_CLOSED, n=1, cutoff=0.85) for hook in hooks)
    try:
        spec = find_spec(entry_point.module.partition(".")[0])
    except (ImportError, ValueError):
        spec = None
    if spec is None or spec.origin is None:
        return True
    file = Path(spec.origin)
    files = file.parent.rglob("*.py") if spec.submodule_search_locations else [file]
    return any(hook in each.read_text("utf-8", errors="replace") for each in files for hook in FAIL_CLOSED)
