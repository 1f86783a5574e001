"""Whether a URI could have come from an RFC 6570 template; in linear time, without backtracking."""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

MAX_URI = 8192
"""Longest URI that is matched, in characters."""

MAX_EXPRESSIONS = 32
"""Most expressions of a template."""

_EXPRESSION = re.compile(r"\{([+#./;?&]?)([^{}]*)\}")
_SEGMENT, _PATH, _QUERY = re.compile("[/?#]"), re.compile("[?#]"), re.compile("#")
_STOP = {"": _SEGMENT, ".": _SEGMENT, ";": _SEGMENT, "/": _PATH, "?": _QUERY, "&": _QUERY}


class Expression(msgspec.Struct, frozen=True):
    """One `{…}`: what it begins with unless it is empty, and the first character that is no more part of it."""

    prefix: str
    stop: re.Pattern[str] | None

    def extend(self, uri: str, starts: list[int]) -> list[int]:
        """Where it may end, ascending, when it may begin at `starts`, ascending; an empty expansion ends there too."""
        ends: set[int] = set(starts)
        reach = -1
        for start in starts:
            begin = start + len(self.prefix)
            if begin > reach and uri.startswith(self.prefix, start):
                found = self.stop.search(uri, begin) if self.stop else None
                reach = found.start() if found else len(uri)
                ends.update(range(begin, reach + 1))
        return sorted(ends)


class Matcher(msgspec.Struct, frozen=True):
    """A template as literals around expressions: `literals` is one longer than `expressions`."""

    literals: tuple[str, ...]
    expressions: tuple[Expression, ...]

    def match(self, uri: str) -> bool:
        """Whether some values of the variables give this URI; time is proportional to its length times expressions."""
        if len(uri) > MAX_URI or not uri.startswith(self.literals[0]) or not uri.endswith(self.literals[-1]):
            return False
        places = [len(self.literals[0])]
        for expression, literal in zip(self.expressions, self.literals[1:], strict=True):
            places = [p + len(literal) for p in expression.extend(uri, places) if uri.startswith(literal, p)]
        return bool(places) and places[-1] == len(uri)


@lru_cache(maxsize=4096)
def compile(template: str) -> Matcher:  # noqa: A001 - called as templates.compile
    """Take a template apart; what is no expression is literal, as is everything where there are too many of them.

    Values are checked only for the characters that cannot be in them: which variables an expression names, and how
    their values are joined, is left to the upstream.
    """
    literals, expressions, position = [], [], 0
    if template.count("{") > MAX_EXPRESSIONS:
        return Matcher((template,), ())
    for found in _EXPRESSION.finditer(template):
        literals.append(template[position : found.start()])
        expressions.append(Expression(found[1].strip("+"), _STOP.get(found[1])))
        position = found.end()
    literals.append(template[position:])
    return Matcher(tuple(literals), tuple(expressions))
