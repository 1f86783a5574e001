"""JMESPath and JSONPath over JSON values, with bounds on what an expression may cost."""

from __future__ import annotations

import math
from typing import Any

import jmespath
import jsonpath_rfc9535 as jsonpath
from jmespath.exceptions import JMESPathError
from jmespath.visitor import TreeInterpreter

MAX_STEPS = 500_000
"""Values that may be looked at or made for one answer."""

MAX_GROWTH = 10_000
"""How often an expression may hold a value more than once: the product of the sizes of its multi-selects."""


class ShapeFailed(ValueError):
    """An expression does not fit the value, or costs too much."""


class Shaper:
    """One expression; JSONPath (RFC 9535) where it begins with `$`, JMESPath otherwise."""

    def __init__(self, expression: str) -> None:
        """Raises ValueError when it cannot be read, or could cost more than its bounds."""
        self.expression = expression
        self._path: jsonpath.JSONPathQuery | None = None
        self._tree: Any = None
        try:
            if expression.startswith("$"):
                self._path = _path(expression)
            else:
                self._tree = jmespath.compile(expression).parsed
        except (JMESPathError, jsonpath.JSONPathError, RecursionError) as error:
            raise ValueError(f"{expression[:80]!r} cannot be read: {str(error)[:200]}") from None
        if self._tree and _growth(self._tree) > MAX_GROWTH:
            raise ValueError(f"{expression[:80]!r} could make far more than it is given; select less in one expression")

    def __call__(self, value: Any) -> Any:
        """What the expression makes of a value: all values that a JSONPath finds, as a list.

        Raises:
            ShapeFailed: it does not fit the value, or costs too much.
        """
        try:
            if self._path is not None:
                return self._found(value)
            return _Bounded().visit(self._tree, value)
        except (JMESPathError, jsonpath.JSONPathError, ArithmeticError, RecursionError, TypeError) as error:
            raise ShapeFailed(f"{self.expression[:80]!r} does not fit: {str(error)[:200]}") from None

    def _found(self, value: Any) -> list[Any]:
        found: list[Any] = []
        for node in self._path.finditer(value) if self._path is not None else ():
            found.append(node.value)
            if len(found) > MAX_STEPS:
                raise ShapeFailed(f"{self.expression[:80]!r} finds too much")
        return found


class _Bounded(TreeInterpreter):
    """Counts what each node of an expression makes."""

    def __init__(self) -> None:
        super().__init__()
        self._left = MAX_STEPS

    def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
        made = super().visit(node, *args, **kwargs)
        is_new = node["type"] not in ("current", "identity", "field", "literal", "index", "subexpression", "expref")
        self._left -= 1 + (len(made) if is_new and isinstance(made, str | list | dict) else 0)
        if self._left < 0:
            raise ShapeFailed("an expression costs too much for this value; select less")
        return made


def _path(expression: str) -> jsonpath.JSONPathQuery:
    counts = expression.count("..") > 1 or expression.count(",") > 8 or expression.count("$") > 2
    if counts or "match(" in expression or "search(" in expression:
        most = "one '..', two '$' and eight commas"
        raise ValueError(f"{expression[:80]!r}: at most {most} are allowed, and neither match() nor search()")
    return jsonpath.compile(expression)


def _growth(node: dict[str, Any]) -> float:
    """How often a value may come up in what the expression makes."""
    own = len(node["children"]) if node["type"].startswith("multi_select") else 1
    if node["type"] == "function_expression":
        if node["value"] == "to_string":
            return math.inf
        own = 2
    return max(own, 1) * math.prod(_growth(child) for child in node["children"] if isinstance(child, dict))
