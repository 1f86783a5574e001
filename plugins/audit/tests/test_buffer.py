"""What waits: nothing is missing without a record that says so."""

from __future__ import annotations

from hypothesis import given, strategies as st

from toolway_audit.buffer import GAP, Buffer
from toolway_audit.writing import Event


def event(number: int) -> Event:
    return Event(float(number), "tools/call", f"t/{number}", "ok")


def test_what_does_not_fit_is_counted_where_it_is_missing() -> None:
    buffer = Buffer(2)
    for number in range(5):
        buffer.add(event(number))
    buffer.refuse(6.0)

    *kept, gap = buffer.take(10)

    assert [each.object for each in kept] == ["t/0", "t/1"]
    assert (gap.action, gap.at) == (GAP, 2.0)
    assert gap.details == {"lost": 3, "refused": 1, "seconds": 4.0}
    assert buffer.is_full
    buffer.written(2)
    assert not buffer.is_full


def test_calls_under_way_are_promised_their_room() -> None:
    buffer = Buffer(2)
    buffer.add(event(1))
    buffer.expected += 1
    assert not buffer.is_promised
    buffer.expected += 1
    assert buffer.is_promised


@given(st.lists(st.sampled_from(["add", "refuse", "take", "written"]), max_size=60), st.integers(1, 5))
def test_every_event_is_kept_or_counted_once(steps: list[str], limit: int) -> None:
    buffer, added, refused, taken = Buffer(limit), 0, 0, list[Event]()
    in_flight = 0
    for number, step in enumerate(steps):
        if step == "add":
            buffer.add(event(number))
            added += 1
        elif step == "refuse":
            buffer.refuse(float(number))
            refused += 1
        elif step == "take":
            batch = buffer.take(3)
            in_flight += sum(each.action != GAP for each in batch)
            taken += batch
        else:
            buffer.written(in_flight)
            in_flight = 0
        assert len(buffer) <= limit
    taken += buffer.take(1000)

    gaps = [each.details for each in taken if each.action == GAP]
    kept = sum(each.action != GAP for each in taken)
    assert kept + sum(gap["lost"] for gap in gaps) == added
    assert sum(gap["refused"] for gap in gaps) == refused
    assert [each.at for each in taken] == sorted(each.at for each in taken)
