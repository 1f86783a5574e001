"""Which calls a rule means, what it counts them by, and what it says."""

from __future__ import annotations

from typing import Any

import pytest
from limited import Pending, admitted, call, limiter, refusal
from pydantic import ValidationError

from toolway.plugin import RateLimited
from toolway_rate_limit.selection import counted, site
from toolway_rate_limit.settings import RateLimitSettings
from toolway_testing.clock import MovedClock

CASES: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({"by": "principal"}, {"who": "user:alice"}, {"who": "user:bob"}),
    ({"by": "server"}, {"server": "one"}, {"server": "two"}),
    ({"by": "team"}, {"teams": ("ops",)}, {"teams": ("web",)}),
    ({"by": "tool"}, {"tool": "up/one"}, {"tool": "up/two"}),
    ({"by": "upstream"}, {"tool": "one/tool"}, {"tool": "two/tool"}),
    ({"by": ["principal", "tool"]}, {"tool": "up/one"}, {"tool": "up/two"}),
    ({"by": "global", "principals": ["user:a*"]}, {"who": "user:alice"}, {"who": "user:bob"}),
    ({"by": "global", "tools": ["bill*/report_*"]}, {"tool": "billing/report_all"}, {"tool": "billing/pay"}),
    ({"by": "global", "servers": ["one", "three"]}, {"server": "one"}, {"server": "two"}),
    ({"by": "global", "teams": ["ops"]}, {"teams": ("web", "ops")}, {"teams": ("web",)}),
    ({"by": "global", "upstreams": ["one"]}, {"tool": "one/tool"}, {"tool": "two/tool"}),
    ({"by": "global", "methods": ["tools/call"]}, {}, {"method": "prompts/get"}),
]


@pytest.mark.parametrize(("rule", "counted_call", "other"), CASES)
async def test_a_rule_counts_what_it_means_and_nothing_else(
    rule: dict[str, Any], counted_call: dict[str, Any], other: dict[str, Any]
) -> None:
    limited = limiter(MovedClock(), {"rate": "1/m", "burst": 2, **rule})

    assert await admitted(limited, *[call(**counted_call)] * 4) == 2
    assert await admitted(limited, *[call(**other)] * 2) == 2


async def test_a_call_counts_for_each_team_of_its_principal() -> None:
    limited = limiter(MovedClock(), {"by": "team", "rate": "1/m", "burst": 2})

    assert await admitted(limited, call(teams=("ops", "web")), call(teams=("ops",)), call(teams=("ops", "web"))) == 2
    assert await admitted(limited, *[call(teams=("web",))] * 2) == 1


async def test_anonymous_clients_are_told_apart_by_their_address() -> None:
    limited = limiter(MovedClock(), {"rate": "1/m", "burst": 1})

    def nobody(address: str) -> Any:
        return call("anonymous", kind="anonymous", address=address)

    assert await admitted(limited, nobody("192.0.2.1"), nobody("192.0.2.1"), nobody("192.0.2.2")) == 2
    assert await admitted(limited, nobody("2001:db8::1"), nobody("2001:db8::ffff"), nobody("2001:db8:0:1::1")) == 2
    assert await admitted(limited, nobody(""), nobody("")) == 1


def test_an_address_is_counted_as_whoever_has_it() -> None:
    assert site("::ffff:192.0.2.1") == "192.0.2.1"
    assert site("fe80::1%eth0") == "fe80::/64"
    assert site("unix") == "unix"


def test_a_resource_is_no_tool() -> None:
    assert counted(["tool"])(call(method="resources/read")) == ()
    assert counted(["principal", "tool"])(call()) == ["user:alice up/tool"]


async def test_calls_at_once_are_limited_and_every_place_comes_back() -> None:
    limited = limiter(MovedClock(), {"concurrent": 2})
    pending = Pending(limited)
    for _ in range(2):
        await pending.begin(call())

    with pytest.raises(RateLimited, match="'r0' allows 2 at once for each principal; try again when one") as refused:
        await limited(call(), pending._held)

    assert refused.value.headers == {
        "retry-after": "1",
        "ratelimit-policy": '"r0";q=2;qu="concurrent-requests"',
        "ratelimit": '"r0";r=0',
    }
    assert await admitted(limited, call("user:bob")) == 1
    await pending.end()
    assert await admitted(limited, *[call()] * 5) == 5


async def test_a_refusal_says_when_to_come_back() -> None:
    limited = limiter(MovedClock(), {"name": "reports", "rate": "6/m", "burst": 1, "by": "global"})
    await admitted(limited, call())

    refused = await refusal(limited, call())

    assert refused is not None
    assert refused.message == "rule 'reports' allows 6 calls per minute; try again in 10 s"
    assert refused.details["retry_after"] == pytest.approx(10, abs=0.1)
    assert refused.headers == {
        "retry-after": "10",
        "ratelimit-policy": '"reports";q=6;w=60',
        "ratelimit": '"reports";r=0;t=10',
    }


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ({}, "rule 'x' limits nothing; give it a rate or concurrent"),
        ({"rate": "often"}, "'often' is no rate; write a number of calls and a unit of s, m, h or d, such as 600/m"),
        ({"rate": "0/m"}, "is no rate"),
        ({"concurrent": 0}, "greater than or equal to 1"),
        ({"concurrent": 1, "burst": 2}, "rule 'x' has a burst without a rate"),
        ({"rate": "1/s", "by": ["global", "tool"]}, "name each once, or global alone"),
        ({"rate": "1/s", "by": "caller"}, "by"),
        ({"rate": "1/s", "tool": ["a/b"]}, "tool"),
    ],
)
def test_a_rule_that_cannot_be_kept_is_refused(rule: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        RateLimitSettings(rules=({"name": "x", **rule},))


def test_two_rules_of_one_name_are_refused() -> None:
    rule = {"name": "x", "rate": "1/s"}

    with pytest.raises(ValidationError, match="there are two rules 'x'"):
        RateLimitSettings(rules=(rule, rule))


def test_the_default_rule_is_that_of_the_documentation() -> None:
    (rule,) = RateLimitSettings().rules

    assert (rule.by, str(rule.rate), rule.most, rule.concurrent) == (("principal",), "600/m", 1200, None)
