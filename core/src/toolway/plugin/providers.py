"""What hooks returned: typed, named and tied to the plugin that it came from."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, get_args, get_type_hints

from toolway.errors import PluginError
from toolway.plugin.discovery import Origin

P = TypeVar("P")


@dataclass(frozen=True)
class Provided(Generic[P]):
    """A provider, what it is called, and where it comes from."""

    origin: Origin
    name: str
    provider: P

    @property
    def builtin(self) -> bool:
        """Whether it is part of the gateway itself."""
        return self.origin.entry_point is None


class Contract:
    """The type of provider that one hook expects, read from the hookspec's annotation."""

    def __init__(self, hookspec: Callable[..., Any]) -> None:
        hints = get_type_hints(hookspec, localns={"Kernel": object})
        self.hook = hookspec.__name__
        self.type: type = get_args(hints["return"])[0]
        self.members = _members(self.type)
        self.naming = next((each for each in ("scheme", "type", "kind") if each in self.members), "name")

    def provided(self, origin: Origin, returned: Any) -> list[Provided[Any]]:
        """All that a hook returned, each checked; raises PluginError with the part of the sentence after the plugin."""
        if not isinstance(returned, Iterable) or isinstance(returned, str | bytes | Mapping):
            raise PluginError(f"hook {self.hook!r} must return a list of {self.type.__name__}, not {_type(returned)}")
        found = []
        for item in returned:
            if complaint := self._complaint(item):
                raise PluginError(f"hook {self.hook!r} returned {_type(item)}, {complaint}")
            found.append(Provided(origin, getattr(item, self.naming), item))
        return found

    def _complaint(self, item: Any) -> str:
        """Why `item` is not a provider of this type, or nothing."""
        if isinstance(item, type):
            return "which is a class; return an instance of it"
        if missing := [member for member in self.members if not hasattr(item, member)]:
            return f"which is not a {self.type.__name__}: it lacks {', '.join(map(repr, missing))}; add what is missing"
        name = getattr(item, self.naming)
        if not isinstance(name, str) or not name:
            return f"whose {self.naming!r} is not a text; give it a name"
        if coroutines := [member for member in self.members if self._is_wrongly_async(item, member)]:
            return f"whose {', '.join(map(repr, coroutines))} is async where {self.type.__name__} is not; write `def`"
        return ""

    def _is_wrongly_async(self, item: Any, member: str) -> bool:
        """A coroutine where a value is expected would always be true: `decide` would never deny."""
        declared = getattr(self.type, member, None)
        is_plain = inspect.isfunction(declared) and not inspect.iscoroutinefunction(declared)
        return is_plain and inspect.iscoroutinefunction(getattr(item, member))


def _members(expected: type) -> list[str]:
    """Attributes and methods that a Protocol (or a data class) of ours asks for."""
    ours = [parent for parent in expected.__mro__ if parent.__module__.startswith("toolway.")]
    names = {name for parent in ours for name in (*inspect.get_annotations(parent), *vars(parent))}
    return sorted(name for name in names if not name.startswith("_") or name == "__call__")


def _type(value: Any) -> str:
    """A value by its type only: what it holds may be secret."""
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
