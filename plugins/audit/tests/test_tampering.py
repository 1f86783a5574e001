"""Whatever somebody with access to the database does to the trail is found by verify, on both databases."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from audit_node import Node

from toolway_audit.record import Entry, Record

COLUMNS = {
    **dict.fromkeys(("node", "actor", "credential", "address", "request_id", "action", "object", "outcome"), "x"),
    "at": "2030-01-31T12:00:00.000000Z",
    **dict.fromkeys(("before", "after", "details"), '{"x":1}'),
    **dict.fromkeys(("previous", "hash"), "f" * 64),
}


async def test_what_nobody_touched_is_intact(node: Node) -> None:
    assert await node.problems() == []
    await node.changes(7)
    assert await node.problems() == []


@pytest.mark.parametrize("column", COLUMNS)
async def test_a_changed_member_is_found_at_its_record(node: Node, column: str) -> None:
    await node.changes(5)

    await node.sql(f"update audit_record set {column} = :value where seq = 3", value=COLUMNS[column])

    assert (await node.problems())[0] == "record 3 was altered"


async def test_a_changed_record_with_a_new_hash_no_longer_fits_the_next_one(node: Node) -> None:
    await node.changes(5)
    [record] = await _read(node, 3)

    await node.sql("update audit_record set actor = 'user:mallory', hash = :hash where seq = 3", hash=_forged(record))

    assert await node.problems() == ["record 4 does not follow record 3 as it is now"]


async def test_the_last_record_rewritten_with_its_hash_and_the_mark_is_found(node: Node) -> None:
    await node.changes(5)
    [record] = await _read(node, 5)
    forged = _forged(record)

    await node.sql("update audit_record set actor = 'user:mallory', hash = :hash where seq = 5", hash=forged)
    assert await node.problems() == ["the trail ended at record 5 with another hash; later ones were added"]

    await node.sql("update audit_mark set hash = :hash where name = 'head'", hash=forged)
    assert await node.problems() == ["the mark of the end was altered, or the key of its seal"]


@pytest.mark.parametrize(
    ("where", "what"),
    [
        ("seq = 3", "record 3 is missing"),
        ("seq in (2, 3)", "records 2 to 3 are missing"),
        ("seq = 1", "record 1 is missing"),
        ("seq >= 4", "records 4 to 5 are missing at the end"),
        ("seq > 0", "records 1 to 5 are missing at the end"),
    ],
)
async def test_deleted_records_are_found(node: Node, where: str, what: str) -> None:
    await node.changes(5)

    await node.sql(f"delete from audit_record where {where}")

    assert (await node.problems())[0] == what


async def test_two_records_that_change_places_are_found(node: Node) -> None:
    await node.changes(5)

    for before, after in ((2, -1), (4, 2), (-1, 4)):
        await node.sql("update audit_record set seq = :after where seq = :before", before=before, after=after)

    assert (await node.problems())[0] == "record 2 was altered"


async def test_a_record_that_somebody_added_is_found(node: Node) -> None:
    await node.changes(5)
    [last] = await _read(node, 5)

    forged = _following(last)
    names = ", ".join(forged)
    await node.sql(f"insert into audit_record ({names}) values ({', '.join(f':{name}' for name in forged)})", **forged)

    assert await node.problems() == ["the trail ended at record 5 with another hash; later ones were added"]


async def test_a_cut_end_with_its_mark_moved_is_found_also_after_more_was_recorded(node: Node) -> None:
    await node.changes(5)
    [third] = await _read(node, 3)
    await node.sql("delete from audit_record where seq > 3")
    await node.sql("update audit_mark set seq = 3, hash = :hash where name = 'head'", hash=third.hash)
    assert await node.problems() == ["the mark of the end was altered, or the key of its seal"]

    await node.changes(2)

    assert await node.problems() == [
        'the gateway itself found the trail altered before record 4: {"what":"the mark of the end was altered"}'
    ]


async def test_a_cut_end_is_recorded_by_the_next_change(node: Node) -> None:
    await node.changes(5)
    await node.sql("delete from audit_record where seq > 3")

    await node.changes(1)

    assert await node.actions() == [*["upstreams.update"] * 3, "audit.broken", "upstreams.update"]
    assert (await node.problems())[0] == "records 4 to 5 are missing"


async def test_a_trail_that_is_gone_with_its_marks_is_missed_by_who_knew_its_end(node: Node) -> None:
    await node.changes(5)
    known = (await node.parts.verifier.verify()).end
    await node.sql("delete from audit_record")
    await node.sql("delete from audit_mark")
    assert await node.problems() == []

    verdict = await node.parts.verifier.verify(None, known)

    assert [each.what for each in verdict.problems] == ["record 5 is not there"]


async def test_the_end_that_one_knew_is_still_in_a_trail_that_went_on(node: Node) -> None:
    await node.changes(5)
    known = (await node.parts.verifier.verify()).end
    await node.changes(3)

    assert (await node.parts.verifier.verify(None, known)).problems == []


async def test_another_key_for_the_marks_is_found(node: Node) -> None:
    await node.changes(3)
    await node.sql("update audit_mark set sealed = 'ünsealed' where name = 'key'")

    assert await node.problems() == ["the mark of the end was altered, or the key of its seal"]
    await node.changes(1)
    assert (await node.problems())[0].startswith("the gateway itself found the trail altered before record 4")


async def _read(node: Node, seq: int) -> list[Record]:
    async with node.database.read() as tx:
        return await node.parts.chain.after(tx, seq - 1, 1)


def _forged(record: Record) -> str:
    """The hash of the record with another actor."""
    return msgspec.structs.replace(record, actor="user:mallory").digest()


def _following(record: Record) -> dict[str, Any]:
    """A record that fits behind this one."""
    entry = Entry(**{name: getattr(record, name) for name in Entry.__struct_fields__})
    return msgspec.structs.asdict(Record.of(entry, record.seq + 1, record.hash))
