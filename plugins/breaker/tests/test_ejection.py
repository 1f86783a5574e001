"""How long an endpoint is ejected, on a clock that only the test moves."""

from __future__ import annotations

from toolway_breaker.ejection import Ejection
from toolway_breaker.limits import BreakerSettings

LIMITS = BreakerSettings()


def middle(low: float, high: float) -> float:
    return (low + high) / 2


def test_each_ejection_is_longer_than_the_last_one_up_to_five_minutes() -> None:
    ejection, now, seconds = Ejection(LIMITS, middle), 1000.0, []

    for _ in range(12):
        seconds.append(ejection.eject(now))
        now = ejection.until

    assert seconds == [*range(30, 301, 30), 300, 300]


def test_each_half_minute_without_one_makes_up_for_one_ejection() -> None:
    ejection = Ejection(LIMITS, middle)
    ejection.eject(1000.0)
    ejection.eject(ejection.until)

    assert ejection.eject(ejection.until + 31) == 60


def test_the_random_part_is_a_fifth_up_and_down_and_never_above_five_minutes() -> None:
    assert Ejection(LIMITS, lambda low, _: low).eject(0.0) == 24
    assert Ejection(LIMITS, lambda _, high: high).eject(0.0) == 36
    often = Ejection(LIMITS, lambda _, high: high)
    assert [often.eject(often.until) for _ in range(20)][-1] == 300


def test_only_faults_in_a_row_and_of_calls_that_began_after_the_last_ejection_are_counted() -> None:
    ejection = Ejection(LIMITS, middle)

    assert [ejection.is_due(10.0) for _ in range(4)] == [False] * 4
    ejection.good(10.0)
    assert [ejection.is_due(10.0) for _ in range(5)] == [False] * 4 + [True]
    ejection.eject(10.0)
    assert [ejection.is_due(39.0) for _ in range(5)] == [False] * 5
    assert [ejection.is_due(40.0) for _ in range(5)] == [False] * 4 + [True]


def test_none_is_ejected_where_ejection_is_off() -> None:
    ejection = Ejection(BreakerSettings(eject_faults=0), middle)

    assert not any(ejection.is_due(0.0) for _ in range(100))
