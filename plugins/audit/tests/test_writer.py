"""What is written beside the requests, also when the database is away for a while; and what is removed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from audit_node import MakeNode, Node

from toolway.catalog.store import Store
from toolway.edge.metrics import Instruments
from toolway.hookspecs.system import Change
from toolway.plugin import StoreUnavailable
from toolway_audit.writer import Writer
from toolway_audit.writing import Scribe
from toolway_testing.polling import eventually

DAY = 86400.0
SCRIBE = Scribe("node", lambda text, key=None: text, tuple)


class LostAnswers:
    """A database whose first commit is made, but not answered."""

    is_sqlite = False

    def __init__(self, store: Store) -> None:
        self._store = store
        self._answers = False

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Any]:
        async with self._store.write() as tx:
            yield tx
        if not self._answers:
            self._answers = True
            raise StoreUnavailable("the database does not answer")


async def test_what_waits_is_written_in_order_with_the_start_and_the_end_of_the_node(make_node: MakeNode) -> None:
    node = await make_node(interval=0.02)
    async with node.parts.writer.run():
        node.happen(object="billing/a")
        await node.change()
        for number in range(1200):
            node.happen(object=f"billing/{number}")
        await eventually(lambda: len(node.parts.buffer) == 0)
        node.happen(object="billing/z")

    objects = [row[0] for row in await node.sql("select object from audit_record order by seq")]
    assert objects == [
        "upstreams/billing",
        "audit",
        "billing/a",
        *(f"billing/{n}" for n in range(1200)),
        "billing/z",
        "audit",
    ]
    assert [(await node.actions())[place] for place in (1, -1)] == ["node.start", "node.stop"]
    assert await node.problems() == []


async def test_what_happened_while_the_database_was_away_is_written_when_it_is_back(make_node: MakeNode) -> None:
    node = await make_node(interval=0.02, buffer=100)
    async with node.parts.writer.run():
        await eventually(lambda: len(node.parts.buffer) == 0)
        await node.sql("alter table audit_record rename to away")
        for number in range(130):
            node.clock.time += 1
            node.happen(object=f"billing/{number}")
        await eventually(node.parts.writer.check)
        assert len(node.parts.buffer) == 100

        await node.sql("alter table away rename to audit_record")
        await eventually(lambda: len(node.parts.buffer) == 0)
        assert await node.parts.writer.check() == ""
        node.happen(object="billing/after")

    rows = await node.sql(
        "select object, details from audit_record where action in ('tools/call', 'audit.gap') order by seq"
    )
    assert [row[0] for row in rows] == [*(f"billing/{number}" for number in range(100)), "audit", "billing/after"]
    assert rows[100][1] == '{"lost":30,"refused":0,"seconds":29.0}'
    assert await node.problems() == []


async def test_a_batch_whose_commit_was_not_answered_is_not_written_twice(make_node: MakeNode) -> None:
    node = await make_node()
    lost = LostAnswers(node.database)
    writer = Writer(
        lost,  # type: ignore[arg-type]
        node.parts.chain,
        SCRIBE,
        node.parts.buffer,
        node.clock,
        0.5,
        Instruments(),
    )
    node.happen()

    with pytest.raises(StoreUnavailable):
        await writer.flush()
    await writer.flush()

    assert await node.actions() == ["tools/call"]
    assert len(node.parts.buffer) == 0
    assert await node.problems() == []


async def test_a_gateway_that_ends_while_the_database_is_away_says_what_is_lost(
    node: Node, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolway_audit.writer.LAST_SECONDS", 0.3)
    async with node.parts.writer.run():
        node.happen()
        await node.sql("alter table audit_record rename to away")

    assert "3 audit records are lost: the gateway ends and cannot write" in caplog.text


class Failing:
    name = "failing"

    async def record(self, change: Change) -> None:
        raise StoreUnavailable("it cannot be kept")


async def test_a_change_that_is_undone_leaves_no_record(node: Node) -> None:
    node.database.recorders = [node.parts.recorder, Failing()]

    with pytest.raises(StoreUnavailable):
        await node.change()

    assert await node.actions() == []
    node.database.recorders = [node.parts.recorder]
    await node.change()
    assert await node.problems() == []


async def test_two_nodes_write_one_chain_without_gaps(make_node: MakeNode) -> None:
    one, two = await make_node(), await make_node()

    async def changes(node: Node, other: str) -> None:
        for number in range(20):
            await node.change(subject=f"{other}/{number}")
            node.happen(object=f"{other}/{number}")
            await node.parts.writer.flush()

    await asyncio.gather(changes(one, "a"), changes(two, "b"))

    assert await one.problems() == []
    assert len(await one.actions()) == 80
    by_node = await one.sql("select node, count(*) from audit_record group by node order by node")
    assert [tuple(row) for row in by_node] == [("node-1", 40), ("node-2", 40)]


async def test_old_records_are_removed_and_the_rest_stays_verifiable(make_node: MakeNode) -> None:
    node = await make_node(retention_days=1)
    for number in range(1100):
        node.happen(object=f"billing/{number}")
    await node.parts.writer.flush()
    node.clock.time += DAY
    await node.changes(3)
    before = (await node.parts.verifier.verify()).end

    assert await node.parts.retention.prune() == 1100

    assert await node.actions() == [*["upstreams.update"] * 3, "audit.prune"]
    assert await node.problems() == []
    assert (await node.parts.verifier.verify(None, before)).problems == []
    assert await node.parts.retention.prune() == 0
    await node.sql("delete from audit_record where seq = 1101")
    assert await node.problems() == ["record 1101 is missing"]


async def test_the_last_record_is_never_removed(make_node: MakeNode) -> None:
    node = await make_node(retention_days=1)
    await node.changes(3)
    node.clock.time += 2 * DAY

    assert await node.parts.retention.prune() == 2
    await node.changes(1)

    assert await node.problems() == []


async def test_a_trail_that_is_not_intact_is_not_pruned(make_node: MakeNode, caplog: pytest.LogCaptureFixture) -> None:
    node = await make_node(retention_days=1)
    await node.changes(5)
    node.clock.time += 2 * DAY
    await node.sql("update audit_record set actor = 'user:mallory' where seq = 2")

    assert await node.parts.retention.prune() == 0

    assert "record 2 was altered; run `toolway audit verify`" in caplog.text
    assert (await node.problems())[0] == "record 2 was altered"


async def test_the_mark_of_the_beginning_cannot_be_moved_unnoticed(make_node: MakeNode) -> None:
    node = await make_node(retention_days=1)
    await node.changes(5)
    node.clock.time += DAY
    await node.changes(2)
    await node.parts.retention.prune()
    [[seq, digest]] = await node.sql("select seq, hash from audit_record where seq = 6")

    await node.sql("delete from audit_record where seq = 6")
    await node.sql("update audit_mark set seq = :seq, hash = :hash where name = 'anchor'", seq=seq, hash=digest)

    assert await node.problems() == ["the mark of the beginning was altered, or the key of its seal"]


async def test_a_trail_of_many_pages_is_verified_page_by_page(node: Node) -> None:
    for number in range(5300):
        node.happen(object=f"billing/{number}")
    await node.parts.writer.flush()
    assert await node.problems() == []

    await node.sql("delete from audit_record where seq in (17, 5290)")

    assert await node.problems() == ["record 17 is missing", "record 5290 is missing"]
