"""Numbers of several workers in shared memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import given, strategies as st

from toolway.edge.metrics import LOST, Instruments, Memory
from toolway.hookspecs.telemetry import LABELS, OTHER
from toolway_testing.polling import eventually


def totals(instruments: Instruments, name: str) -> dict[tuple[str, ...], Sequence[float]]:
    return {each.name: dict(each.series) for each in instruments.collect()}[name]


def in_another_process(memories: list[Memory], number: int) -> None:
    """What a worker does: it counts, and ends without a word."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            metrics = Instruments(memories, number)
            metrics.counter("toolway_things_total", "Things.", {"kind": ("a", "b")}).add(2, "a")
            metrics.histogram("toolway_thing_seconds", "Things.", (0.1, 1.0), {}).observe([0.5])
            metrics.gauge("toolway_open", "Things.", {}).set(7)
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0


def test_any_worker_answers_for_all_and_totals_outlive_a_worker() -> None:
    memories = [Memory(), Memory()]
    in_another_process(memories, 0)
    in_another_process(memories, 1)
    in_another_process(memories, 1)
    mine = Instruments(memories, 0)
    mine.counter("toolway_things_total", "Things.", {"kind": ("a", "b")}).add(1, "b")
    mine.histogram("toolway_thing_seconds", "Things.", (0.1, 1.0), {})
    mine.gauge("toolway_open", "Things.", {})

    assert totals(mine, "toolway_things_total") == {("a",): [6.0], ("b",): [1.0]}
    assert totals(mine, "toolway_thing_seconds") == {(): [0.0, 3.0, 0.0, 1.5]}
    assert totals(mine, "toolway_open") == {(): [7.0]}, "of the worker that runs; the one before it is gone"


def test_labels_are_of_closed_sets_and_a_hundred_thousand_names_are_a_thousand_series() -> None:
    metrics = Instruments()
    counter = metrics.counter("toolway_things_total", "Things.", {"kind": ("a",), "name": None})
    for number in range(100_000):
        counter.add(1, "a" if number % 2 else "surprise", f"name-{number}")

    series = totals(metrics, "toolway_things_total")
    assert {kind for kind, _ in series} == {"a", OTHER}
    assert len(series) <= LABELS + 2
    assert sum(value for (value,) in series.values()) == 100_000


def test_what_finds_no_place_is_counted_as_lost() -> None:
    metrics = Instruments()
    for number in range(1_000):
        metrics.histogram(f"toolway_{number}_seconds", "Wide.", [float(n) for n in range(100)], {}).observe([1.0])

    [[lost]] = totals(metrics, LOST).values()
    assert lost > 0


@given(st.lists(st.floats(0, 100, allow_nan=False)))
def test_a_histogram_counts_each_value_under_its_bound(values: list[float]) -> None:
    metrics, bounds = Instruments(), (0.5, 1.0, 50.0)
    histogram = metrics.histogram("toolway_seconds", "Time.", bounds, {})
    for value in values:
        histogram.observe([value])

    found = totals(metrics, "toolway_seconds").get((), [0.0] * 5)
    below = [sum(value <= bound for value in values) for bound in (*bounds, float("inf"))]
    assert [sum(found[: n + 1]) for n in range(4)] == below
    assert found[-1] == pytest.approx(sum(values))


def test_what_is_sampled_is_summed_or_the_largest_counts() -> None:
    memories = [Memory(), Memory()]
    for number, metrics in enumerate([Instruments(memories, 0), Instruments(memories, 1)]):
        metrics.sampled("toolway_open", "Open.", lambda: 2.0)
        metrics.sampled("toolway_age_seconds", "Age.", lambda number=number: 3.0 + number, largest=True)  # type: ignore[misc]
        metrics.sample()

    assert totals(metrics, "toolway_open") == {(): [4.0]}
    assert totals(metrics, "toolway_age_seconds") == {(): [4.0]}


def test_what_is_sampled_by_labels_is_gone_when_it_is_not_there_any_more() -> None:
    metrics = Instruments()
    up: dict[tuple[str, ...], float] = {("one",): 1.0, ("two",): 0.0}
    metrics.sampled("toolway_up", "Up.", lambda: up, {"upstream": None}, largest=True)
    metrics.sample()
    del up["one",]
    metrics.sample()

    assert totals(metrics, "toolway_up") == {("two",): [0.0]}


def test_what_is_sampled_of_names_that_are_too_many_is_together() -> None:
    metrics = Instruments()
    many: dict[tuple[str, ...], float] = {(f"name-{number}",): float(number) for number in range(LABELS + 3)}
    metrics.sampled("toolway_things", "Things.", lambda: many, {"name": None})
    metrics.sampled("toolway_since_seconds", "Since.", lambda: many, {"name": None}, largest=True)
    metrics.sample()
    metrics.sample()

    assert totals(metrics, "toolway_things")[OTHER,] == [3.0 * LABELS + 3]
    assert totals(metrics, "toolway_since_seconds")[OTHER,] == [LABELS + 2.0]


def test_what_fails_to_take_over_is_not_read_any_more() -> None:
    metrics = Instruments()
    metrics.sampled("toolway_open", "Open.", lambda: 2.0)

    with suppress(RuntimeError), metrics.taken_over():
        metrics.sampled("toolway_open", "Open.", lambda: 3.0)
        metrics.sampled("toolway_new", "New.", lambda: 4.0)
        metrics.sample()
        raise RuntimeError("no")
    metrics.sample()

    assert totals(metrics, "toolway_open") == {(): [2.0]}
    assert totals(metrics, "toolway_new") == {}


def test_what_fails_to_be_read_keeps_nobody_else_from_being_read(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Instruments()
    metrics.sampled("toolway_broken", "Broken.", lambda: 1 / 0)
    metrics.sampled("toolway_open", "Open.", lambda: 2.0)

    metrics.sample()

    assert totals(metrics, "toolway_open") == {(): [2.0]}
    assert "reading toolway_broken failed" in caplog.text


def test_a_gauge_that_finds_no_place_leaves_the_count_of_the_lost_as_it_is() -> None:
    metrics = Instruments()
    wide = {"toolway_wide_seconds": [float(n) for n in range(60_000)], "toolway_more_seconds": [1.0] * 5_500}
    for name, bounds in wide.items():
        metrics.histogram(name, "Wide.", bounds, {}).observe([1.0])
    for number in range(100):
        metrics.gauge(f"toolway_{number}", "Late.", {}).set(1e9)

    [[lost]] = totals(metrics, LOST).values()
    assert 0 < lost <= 100


def test_a_worker_that_replaces_another_has_no_room_for_a_thousand_names_more() -> None:
    memories = [Memory()]
    for worker in range(3):
        counter = Instruments(memories).counter("toolway_things_total", "Things.", {"name": None})
        for number in range(LABELS):
            counter.add(1, f"{worker}-{number}")

    mine = Instruments(memories)
    mine.counter("toolway_things_total", "Things.", {"name": None})
    assert len(totals(mine, "toolway_things_total")) <= LABELS + 1


async def test_who_counts_late_is_called_once_before_totals_are_read_and_soon_anyway() -> None:
    metrics, called = Instruments(), list[str]()
    metrics.late(lambda: called.append("read"))

    metrics.collect()
    metrics.collect()
    assert called == ["read"]

    metrics.late(lambda: 1 // 0)  # type: ignore[arg-type]
    metrics.late(lambda: called.append("soon"))
    metrics.read_by([])  # another gateway is prepared; this one goes on
    await eventually(lambda: called == ["read", "soon"])
