"""Two processes on one key-value store: one call for both, copies of the other, and both drop what is to be dropped."""

from __future__ import annotations

import asyncio

import pytest
from behind import Scripted
from two_nodes import Nodes

from toolway_testing.polling import eventually

pytestmark = pytest.mark.timeout(120)


async def test_500_clients_of_two_processes_on_a_cold_key_make_one_call(nodes: Nodes, upstream: Scripted) -> None:
    await upstream.send("PUT", "/_order", {"trick": "late", "method": "tools/call", "times": 1})

    answers = await asyncio.gather(*(nodes.call(number % 2, hot=1) for number in range(500)))

    assert all(answer == answers[0] for answer in answers)
    assert await upstream.calls() == 1 and await nodes.entries() == (1, 1)


async def test_what_one_process_kept_is_a_copy_for_the_other_but_not_for_somebody_else(
    nodes: Nodes, upstream: Scripted
) -> None:
    async def calls(at: int, *, is_admin: bool) -> int:
        await nodes.call(at, is_admin=is_admin)
        return await upstream.calls()

    assert await calls(0, is_admin=False) == 1
    await eventually(lambda: is_found_by_the_other(nodes, 0))
    assert await calls(1, is_admin=False) == 1
    assert [await calls(at, is_admin=True) for at in (1, 1)] == [2, 2]
    rows = [(await nodes.api(at, "GET", "/cache/entries"))["items"] for at in (0, 1)]
    assert [sorted(bool(row["principal"] == "anonymous") for row in each) for each in rows] == [[True], [False, True]]


async def is_found_by_the_other(nodes: Nodes, at: int) -> bool:
    """The copy is written a moment after the answer."""
    await asyncio.sleep(0.05)
    return (await nodes.entries())[at] > 0


async def test_a_flush_at_one_process_tells_how_many_copies_both_had(nodes: Nodes, upstream: Scripted) -> None:
    for number in range(3):
        await nodes.call(0, n=number)
    await nodes.call(1, n=7)

    some = await nodes.api(1, "POST", "/cache/flush", {"items": "up/echo_*"})
    none = await nodes.api(0, "POST", "/cache/flush", {"upstream": "up"})

    assert (some["removed"], sorted(each["removed"] for each in some["nodes"]), some["silent"]) == (4, [1, 3], [])
    assert (none["removed"], len(none["nodes"]), none["silent"]) == (0, 2, [])
    await nodes.call(0, n=7)
    assert await upstream.calls() == 5, "nor is it in the store"


async def test_what_an_upstream_says_that_changed_is_dropped_by_both(nodes: Nodes, upstream: Scripted) -> None:
    await asyncio.gather(nodes.call(0, n=1), nodes.call(1, n=2))
    assert await nodes.entries() == (1, 1)

    await upstream.notify("notifications/tools/list_changed")

    async def are_gone() -> bool:
        return await nodes.entries() == (0, 0)

    await eventually(are_gone)
    await nodes.call(1, n=1)
    assert await upstream.calls() == 3


async def test_what_is_warmed_at_one_process_is_there_for_the_other(nodes: Nodes, upstream: Scripted) -> None:
    warmed = {"server": "all", "name": "up__echo_raw", "arguments": {"n": 1}}

    (row,) = (await nodes.api(0, "POST", "/cache/warm", {"calls": [warmed]}))["calls"]
    await eventually(lambda: is_found_by_the_other(nodes, 0))
    await nodes.call(1, is_admin=True, n=1)

    assert row["outcome"] == "kept" and await upstream.calls() == 1
