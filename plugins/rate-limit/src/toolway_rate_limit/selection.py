"""Which calls are meant, and what they are counted by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from itertools import product

from toolway.hookspecs.auth import Principal
from toolway.hookspecs.routing import Call
from toolway.plugin import globs
from toolway_rate_limit.settings import By, Selection

EVERYTHING = "*"
REMEMBERED = 10_000
SITE_BITS = 64
"""Of an IPv6 address: what one subscriber has (RFC 6177), so nobody gets another count by changing the rest."""

Claim = Callable[[Call], bool]
Keys = Callable[[Call], Sequence[str]]


def selects(selection: Selection) -> Claim | None:
    """What says whether a call is meant; None when every call is."""
    tests: list[Claim] = []
    if selection.methods:
        methods = frozenset(selection.methods)
        tests.append(lambda call: call.method in methods)
    if principal := _matches(selection.principals):
        tests.append(lambda call: principal(call.principal.id))
    if team := _matches(selection.teams):
        tests.append(lambda call: any(team(name) for name in call.principal.teams))
    if server := _matches(selection.servers):
        tests.append(lambda call: server(call.server))
    if upstream := _matches(selection.upstreams):
        tests.append(lambda call: upstream(_upstream(call)))
    if tool := _matches(selection.tools):
        tests.append(lambda call: any(tool(name) for name in _tool(call)))
    if not tests:
        return None
    return tests[0] if len(tests) == 1 else lambda call: all(test(call) for test in tests)


def selects_any(selections: Iterable[Selection]) -> Claim:
    """What says whether one of them means a call."""
    tests = [selects(each) for each in selections]
    if None in tests:
        return lambda call: True
    return lambda call: any(test(call) for test in tests if test is not None)


def counted(by: Sequence[By]) -> Keys:
    """What names the counters of a call: none for a tool's count of what is no tool's call, one for each team."""
    if len(by) == 1:
        return _KEYS[by[0]]
    parts = [_KEYS[each] for each in by]
    return lambda call: [" ".join(names) for names in product(*(part(call) for part in parts))]


def _principal(call: Call) -> Sequence[str]:
    principal: Principal = call.principal
    if principal.kind == "anonymous":
        return (f"{principal.id}@{site(call.address)}",) if call.address else (principal.id,)
    return (principal.id,)


def _upstream(call: Call) -> str:
    return call.target.upstream if call.target is not None else ""


def _tool(call: Call) -> Sequence[str]:
    if call.method != "tools/call" or call.target is None:
        return ()
    return (f"{call.target.upstream}/{call.target.name}",)


_KEYS: dict[By, Keys] = {
    "principal": _principal,
    "team": lambda call: call.principal.teams,
    "server": lambda call: (call.server,),
    "upstream": lambda call: (_upstream(call),),
    "tool": _tool,
    "global": lambda call: (EVERYTHING,),
}


@lru_cache(REMEMBERED)
def site(address: str) -> str:
    """Whom an address is counted as: itself, or its network of 64 bits."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ip_network((parsed, SITE_BITS), strict=False))
    return str(parsed)


def _matches(patterns: Sequence[str]) -> Callable[[str], bool] | None:
    """None without patterns; what was asked before is remembered."""
    if not patterns or EVERYTHING in patterns:
        return None
    expression = globs(patterns)
    return lru_cache(REMEMBERED)(lambda name: expression.fullmatch(name) is not None)
