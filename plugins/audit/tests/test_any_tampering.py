"""Any record, any member, any other value: it is found, in rows and in lines of an export."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import assume, given, strategies as st

from toolway_audit.marks import BEGINNING, Mark
from toolway_audit.record import COLUMNS, GENESIS, Entry, Link, Record
from toolway_audit.verifying import Ending, verify_lines
from toolway_audit.walk import Walk

TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
).map(lambda value: json.dumps(value, sort_keys=True))
ENTRIES = st.builds(
    Entry,
    **{name: JSONS if name in ("before", "after", "details") else TEXTS for name in Entry.__struct_fields__},
)
TRAILS = st.lists(ENTRIES, min_size=1, max_size=6)
VALUES = TEXTS | JSONS | st.integers() | st.none() | st.binary(max_size=10)


def chained(entries: list[Entry]) -> list[Record]:
    records: list[Record] = []
    for number, entry in enumerate(entries, 1):
        records.append(Record.of(entry, number, records[-1].hash if records else GENESIS))
    return records


def problems(records: list[Record], head: Record) -> list[str]:
    walk = Walk(BEGINNING)
    for record in records:
        walk.step(Link.of(record))
    walk.end(Mark(head.seq, head.hash))
    return [each.what for each in walk.problems]


def exported(records: list[Record]) -> list[bytes]:
    end = Mark(records[-1].seq, records[-1].hash)
    return [*(each.line() for each in records), msgspec.json.encode(Ending(BEGINNING, end))]


@given(TRAILS)
def test_what_nobody_touched_is_intact(entries: list[Entry]) -> None:
    records = chained(entries)

    assert problems(records, records[-1]) == []
    verdict, is_selection = verify_lines(exported(records))
    assert (verdict.problems, is_selection) == ([], False)


@given(TRAILS, st.data())
def test_any_other_value_of_any_member_is_found(entries: list[Entry], data: st.DataObject) -> None:
    records = chained(entries)
    place, column = data.draw(st.integers(0, len(records) - 1)), data.draw(st.sampled_from(COLUMNS))
    value: Any = data.draw(st.integers() if column == "seq" else VALUES)
    assume((type(value), value) != (type(getattr(records[place], column)), getattr(records[place], column)))

    altered = [*records]
    altered[place] = msgspec.structs.replace(records[place], **{column: value})

    assert problems(altered, records[-1])


@given(TRAILS, st.data())
def test_what_moves_between_members_is_found(entries: list[Entry], data: st.DataObject) -> None:
    """The line may stay the same when text moves from one JSON member to the next; the record does not."""
    inner = data.draw(TEXTS)
    details = json.dumps({"k": 0, "credential": inner, "details": 5}, separators=(",", ":"))
    [first, *others] = [msgspec.structs.replace(each, before="1", credential="a", details=details) for each in entries]
    records = chained([first, *others])

    shifted = '1,"credential":"a","details":{"k":0'
    moved = msgspec.structs.replace(records[0], before=shifted, credential=inner, details="5}")

    assert problems([moved, *records[1:]], records[-1])


@given(TRAILS, st.data())
def test_records_that_are_removed_repeated_or_moved_are_found(entries: list[Entry], data: st.DataObject) -> None:
    records = chained(entries)
    places = data.draw(st.lists(st.integers(0, len(records) - 1), max_size=8))
    assume(places != list(range(len(records))))

    moved = [records[place] for place in places]

    assert problems(moved, records[-1])
    assert verify_lines([*(each.line() for each in moved), exported(records)[-1]])[0].problems


def test_a_byte_that_makes_it_no_text_is_found() -> None:
    names = (name for name in Entry.__struct_fields__ if name not in ("before", "after", "details"))
    entry = Entry(**dict.fromkeys(names, "caf\u00e9"), before="null", after="null", details="null")
    line, end = exported(chained([entry]))

    verdict, _ = verify_lines([line.replace("\u00e9".encode(), b"\xeb\xa9", 1), end])

    assert [each.what for each in verdict.problems] == ["record 1 was altered"]


@given(TRAILS, st.data())
def test_any_other_byte_in_an_export_is_found(entries: list[Entry], data: st.DataObject) -> None:
    lines = exported(chained(entries))[:-1]
    whole = bytearray(b"".join(lines))
    place = data.draw(st.integers(0, len(whole) - 2))
    byte = data.draw(st.integers(0, 255))
    assume(whole[place] != byte)
    whole[place] = byte

    verdict, _ = verify_lines([*bytes(whole).splitlines(keepends=True), exported(chained(entries))[-1]])

    assert verdict.problems
