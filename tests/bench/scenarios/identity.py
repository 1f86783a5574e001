"""What identity costs a request: a decision under 10,000 bindings, and a credential that was seen before."""

from __future__ import annotations

import asyncio
import math
import statistics
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import machine
from bench import Bench
from outcome import Outcome, Table, Verdict

from toolway.clock import SystemClock
from toolway.gateway.access import Access
from toolway.hookspecs.accounts import Account, Accounts, Team
from toolway.hookspecs.auth import AuthContext, Authenticated, Credentials, Principal, Resource, Visit, credential_key

BINDINGS, TOOLS, USERS, TEAMS = 10_000, 1_000, 1_000, 100
DECISION_GOAL, REMEMBERED_GOAL = 1.0, 1.5
REPEATS = 20
MICROSECONDS = 1e6
LATER = 4e9
"""In seconds since 1970: after every run."""

Samples = dict[str, list[float]]


def run(bench: Bench) -> Outcome:
    """Measure in this process, as the gateway does it in its own."""
    outcome = Outcome("identity")
    access, resources = _access()
    principals = [_principal(number) for number in range(USERS)]
    tokens = [b"Bearer " + f"{number:032x}".encode() * 8 for number in range(USERS)]
    asyncio.run(_show_once(access, tokens))
    samples: Samples = {}
    for _ in range(bench.rounds):
        with machine.alone():
            for name, seconds in _measure(access, resources, principals, tokens):
                samples.setdefault(name, []).append(seconds * MICROSECONDS)
    lines = [[name, f"{statistics.median(seen):.3f}", f"{max(seen):.3f}"] for name, seen in samples.items()]
    outcome.tables.append(Table("µs each", [["", "median", "worst"], *lines]))
    outcome.figures = dict(samples)
    decision, remembered = (statistics.median(samples[name]) for name in ("decision of rbac", "credential seen before"))
    outcome.verdicts = [
        Verdict("a decision with 10,000 bindings and 1,000 tools", decision, "at most", DECISION_GOAL, " µs"),
        Verdict("a token that was seen before", remembered, "at most", REMEMBERED_GOAL, " µs"),
    ]
    return outcome


def _measure(
    access: Access, resources: list[Resource], principals: list[Principal], tokens: list[bytes]
) -> Iterator[tuple[str, float]]:
    """Seconds of one of each."""
    authorizer, known = access._authorizers[0], principals[:REPEATS]
    yield (
        "decision of rbac",
        _each(
            lambda: [authorizer.decide(who, "tools:call", tool) for who in known for tool in resources],
            len(known) * len(resources),
        ),
    )
    yield (
        "decision of the gateway",
        _each(
            lambda: [access.allowed(who, "tools:call", tool) for who in known for tool in resources],
            len(known) * len(resources),
        ),
    )
    yield (
        "credential seen before",
        _each(lambda: [access.remembered(credential_key("all", token, None)) for token in tokens], len(tokens)),
    )


def _each(work: Callable[[], object], count: int) -> float:
    """Seconds of one of `count`, when everything is warm."""
    work()
    began = time.perf_counter()
    for _ in range(REPEATS):
        work()
    return (time.perf_counter() - began) / REPEATS / count


def _access() -> tuple[Access, list[Resource]]:
    """With the plugin's policy: bindings of users, of teams and of everybody; roles, single tools and denials."""
    from toolway_rbac.authorizer import RbacAuthorizer
    from toolway_rbac.policy import Bound, Policy

    clock = SystemClock()
    policy = Policy(bindings=[_bound(Bound, number) for number in range(BINDINGS)], accounts=_accounts())
    kernel = SimpleNamespace(parts={"rbac": policy})
    authorizer = RbacAuthorizer(lambda: kernel.parts["rbac"], clock.now, lambda action, name: Resource(name))
    resources = [Resource(f"up{number % 20}/tool{number}", "all", "authenticated") for number in range(TOOLS)]
    access = Access([_Tokens()], [authorizer], clock)
    found = {access.allowed(_principal(0), "tools:call", each) for each in resources}
    if found != {True, False}:
        raise RuntimeError(f"the policy does not tell tools apart: {found}")
    return access, resources


def _bound(kind: Callable[..., Any], number: int) -> Any:
    """Ten for each user or one of the teams: single tools, upstreams, roles; some are denials, half of them end."""
    pattern = f"up{number % 20}/*" if number % 3 else f"up{number % 20}/tool{number % TOOLS}"
    given = {"permission": f"tools:call:{pattern}"} if number % 7 else {"role": "viewer"}
    subject = f"user:u{number // 10}" if number % 5 else f"team:t{number // 5 % TEAMS}"
    effect = "deny" if number % 51 == 1 else "allow"
    return kind(f"b{number}", subject, effect=effect, expires_at=LATER if number % 2 else None, **given)


def _accounts() -> Accounts:
    users = [Account("user", f"u{number}", teams={f"t{number % TEAMS}": "member"}) for number in range(USERS)]
    return Accounts({each.id: each for each in users}, {f"t{number}": Team(f"t{number}") for number in range(TEAMS)})


def _principal(number: int) -> Principal:
    return Principal(f"user:u{number}", teams=(f"t{number % TEAMS}",), groups=("staff",), credential="token:1")


class _Tokens:
    """Takes every token."""

    name = "tokens"

    async def authenticate(self, credentials: Credentials, context: AuthContext) -> Authenticated:
        """See `Authenticator`."""
        return Authenticated(_principal(int(credentials.value[:32], 16)), math.inf)


async def _show_once(access: Access, tokens: list[bytes]) -> None:
    for token in tokens:
        await access.authenticate(Visit(token, None, AuthContext("all", "127.0.0.1", "/servers/all/mcp")))
