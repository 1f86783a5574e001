"""The Jinja2 environment of prompts: a closed list of everything that a template may use.

Templates read JSON values and make text. What they cannot do is decided by lists of what they can: filters, tests,
functions, methods and attributes that are not named here do not exist. What lists cannot bound, time and memory, is
bounded from outside (`worker`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

from jinja2 import StrictUndefined, Undefined, filters, tests
from jinja2.exceptions import SecurityError
from jinja2.runtime import LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from toolway_prompts.vocabulary import FILTERS, LAZY, LOOP, METHODS, TESTS

MOST_TEXT = 1024 * 1024
"""Largest text or list that an operator makes, in characters or members."""

MOST_BITS = 1024
"""Largest whole number that an operator makes."""

MOST_RANGE = 10_000
MOST_INDENT = 64


class Method:
    """A method or function that a template may call, and do nothing else with: its text tells addresses in memory."""

    __slots__ = ("_method",)

    def __init__(self, method: Callable[..., Any]) -> None:
        self._method = method

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """What it makes of them."""
        return self._method(*arguments, **options)

    def __repr__(self) -> str:
        raise SecurityError("a method can only be called; write () behind its name")


class PromptEnvironment(ImmutableSandboxedEnvironment):
    """What prompts are compiled and rendered with."""

    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "%", "**"))

    def __init__(self) -> None:
        super().__init__(
            undefined=StrictUndefined,
            finalize=printable,
            optimized=False,  # nothing of a template runs while it is compiled
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=False,
            cache_size=0,
        )
        self.filters = {name: filters.FILTERS[name] for name in FILTERS}
        self.filters |= {name: _eager(filters.FILTERS[name]) for name in LAZY}
        self.filters |= {"tojson": to_json, "indent": indent}
        self.tests = {name: tests.TESTS[name] for name in TESTS}
        self.globals = {"range": Method(bounded_range), "namespace": Method(Namespace)}

    def getattr(self, obj: Any, attribute: str) -> Any:
        """A member of an object, or one of the methods that may be called."""
        if attribute.startswith("_"):
            raise SecurityError(f"{attribute!r} is not available: names that begin with an underscore are internal")
        if isinstance(obj, Undefined):
            return getattr(obj, attribute)  # tells what is undefined
        if isinstance(obj, LoopContext) and attribute in LOOP:
            found = getattr(obj, attribute)
            return Method(found) if callable(found) and not isinstance(found, Undefined) else found
        if isinstance(obj, Namespace):
            members: dict[str, Any] = obj._Namespace__attrs
            return members[attribute] if attribute in members else self.undefined(name=attribute)
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        for kind, names in METHODS.items():
            if isinstance(obj, kind) and attribute in names:
                return Method(getattr(obj, attribute))
        if isinstance(obj, dict):
            return self.undefined(obj=obj, name=attribute)
        raise SecurityError(f"{attribute!r} of {_kind(obj)} is not available in prompts")

    def getitem(self, obj: Any, argument: Any) -> Any:
        """A member by key or index; a text after the bracket is a key and never an attribute."""
        if isinstance(argument, str) and argument.startswith("_"):
            raise SecurityError(f"{argument!r} is not available: names that begin with an underscore are internal")
        if not isinstance(obj, (dict, list, tuple, str, Undefined)):
            if isinstance(argument, str):
                return self.getattr(obj, argument)
            raise SecurityError(f"{_kind(obj)} has no members in prompts")
        try:
            return obj[argument]
        except (LookupError, TypeError):
            return self.undefined(obj=obj, name=argument)

    def is_safe_callable(self, obj: Any) -> bool:
        """Methods that were handed out here, macros, and the functions that there are."""
        return isinstance(obj, (Method, Macro, LoopContext))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """An operator between two values, whose result is bounded before it is computed."""
        if operator == "+" and isinstance(left, str | list | tuple) and isinstance(right, str | list | tuple):
            if len(left) + len(right) > MOST_TEXT:
                raise SecurityError(f"'+' would make more than {MOST_TEXT} characters")
        elif not (isinstance(left, int | float) and isinstance(right, int | float)):
            if isinstance(left, Undefined) or isinstance(right, Undefined):
                return super().call_binop(context, operator, left, right)
            raise SecurityError(f"{operator!r} is for numbers in prompts, not for {_kind(left)} and {_kind(right)}")
        elif _bits(operator, left, right) > MOST_BITS:
            raise SecurityError(f"{operator!r} would make too large a number")
        return super().call_binop(context, operator, left, right)


def _eager(lazy: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that makes a list."""

    @wraps(lazy)
    def made(*arguments: Any, **options: Any) -> Any:
        found = lazy(*arguments, **options)
        return found if isinstance(found, str | Undefined) else list(found)

    return made


def _bits(operator: str, left: float, right: float) -> float:
    """At most so many bits has the result."""
    first, second = (value.bit_length() if isinstance(value, int) else 64 for value in (left, right))
    if operator == "**":
        return first * max(1.0, abs(right))
    return first + second


def printable(value: Any) -> Any:
    """What a value prints as: JSON values only; None prints nothing."""
    if value is None:
        return ""
    if isinstance(value, str | int | float | Undefined):
        return value
    return json.dumps(_plain(value), ensure_ascii=False)


def to_json(value: Any, indent: int | None = None) -> str:
    """JSON, as it is read by a model: not escaped for HTML."""
    return json.dumps(_plain(value), ensure_ascii=False, indent=min(indent, 8) if indent else None)


def indent(text: str, width: Any = 4, first: bool = False, blank: bool = False) -> str:
    """Indent lines; the width is bounded."""
    if not isinstance(width, int) or width > MOST_INDENT:
        raise SecurityError(f"indent takes a width of at most {MOST_INDENT}")
    return filters.do_indent(str(text), width, first, blank)


def bounded_range(*arguments: int) -> range:
    """`range`, of at most 10,000 members."""
    numbers = range(*arguments)
    if len(numbers) > MOST_RANGE:
        raise OverflowError(f"range is for at most {MOST_RANGE} members")
    return numbers


def _plain(value: Any) -> Any:
    """A JSON value; raises SecurityError for anything else."""
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_plain(entry) for entry in value]
    if isinstance(value, str | int | float | None):
        return value
    raise SecurityError(f"{_kind(value)} cannot be printed")


def _kind(value: Any) -> str:
    """How messages call a value."""
    names = {str: "a text", bool: "true or false", int: "a number", float: "a number", dict: "an object"}
    if isinstance(value, list | tuple):
        return "a list"
    return names.get(type(value), "nothing" if value is None else f"a {type(value).__name__.lower()}")
