"""What callers hear of their limits when they are within them: draft-ietf-httpapi-ratelimit-headers."""

from __future__ import annotations

import re

from hypothesis import given, strategies as st
from limited import admitted, call, limiter
from nodes import Node

from toolway.bundled.stores.keyvalue_memory import MemoryKeyValue
from toolway.hookspecs.routing import Call
from toolway_rate_limit.limiter import Limiter
from toolway_testing.clock import MovedClock

RATES = st.builds("{}/{}".format, st.integers(1, 500), st.sampled_from("smhd"))


async def left(limited: Limiter, one: Call) -> int:
    """What an admitted call is told to have left."""
    assert await admitted(limited, one) == 1
    found = re.fullmatch(r'"r0";r=([0-9]+)(;t=[0-9]+)?', one.reply_headers["ratelimit"])
    assert found is not None and (found[2] is not None) == (found[1] == "0")
    return int(found[1])


@given(rate=RATES, burst=st.integers(1, 60), before=st.lists(st.floats(0, 100_000), max_size=20))
async def test_as_many_calls_as_a_caller_is_told_to_have_left_are_admitted(
    rate: str, burst: int, before: list[float]
) -> None:
    clock = MovedClock()
    limited = limiter(clock, {"rate": rate, "burst": burst})
    for seconds in before:
        await admitted(limited, call())
        clock.time += seconds
    if not await admitted(limited, one := call()):
        return

    said = int(one.reply_headers["ratelimit"].partition("r=")[2].partition(";")[0])

    assert await admitted(limited, *[call()] * (burst + 1)) == said


async def test_with_a_shared_count_it_is_what_all_nodes_have_left() -> None:
    clock = MovedClock()
    keyvalue = MemoryKeyValue(clock)
    one, two = (Node(name, keyvalue, clock, {"rate": "10/s", "burst": 40}) for name in "ab")
    assert await left(one.limited, call()) == 39

    assert await admitted(two.limited, *[call()] * 100) <= 39
    assert await admitted(one.limited, call()) == 0
    clock.time += 3600
    assert await left(one.limited, call()) == 39


async def test_of_several_counts_the_fewest_is_told_and_each_rule_has_its_own() -> None:
    rules = {"by": "team", "rate": "2/h", "burst": 5}, {"name": "mine", "rate": "7/m", "burst": 9}
    limited = limiter(MovedClock(), *rules)
    await admitted(limited, *[call("user:bob", teams=("web",))] * 3)

    await admitted(limited, one := call(teams=("ops", "web")))

    assert one.reply_headers == {
        "ratelimit-policy": '"r0";q=2;w=3600, "mine";q=7;w=60',
        "ratelimit": '"r0";r=1, "mine";r=8',
    }


async def test_what_others_use_is_not_told() -> None:
    shared = [{"by": by, "rate": "9/m"} for by in ("global", "server", "upstream", "tool")]
    limited = limiter(MovedClock(), *shared, {"concurrent": 5})
    assert await admitted(limited, one := call()) == 1
    assert not one.reply_headers

    silent = limiter(MovedClock(), {"rate": "9/m"}, headers=False)
    assert await admitted(silent, one := call()) == 1
    assert not one.reply_headers
