"""Families as text, in both formats."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from toolway.hookspecs.telemetry import Family
from toolway_prometheus.exemplars import CALLS, Exemplar, Exemplars
from toolway_prometheus.exposition import pieces
from toolway_prometheus.formats import Format
from toolway_testing.clock import MovedClock
from toolway_testing.prometheus import checked

COUNTER = Family("toolway_things_total", 'Things: "all" \\ of\nthem.', "counter", ("kind",), {("a",): [3.0]})
GAUGE = Family("toolway_open", "Open.", "gauge", (), {(): [2.5]})
TIMES = Family(CALLS, "Times.", "histogram", ("method",), {("m",): [1.0, 0.0, 2.0, 4.5]}, (0.1, 1.0))
EMPTY = Family("toolway_nothing_total", "Nothing.", "counter", (), {})


def text(*families: Family, form: Format = Format.PLAIN, exemplars: Exemplars | None = None) -> str:
    return "".join(pieces(families, form, exemplars or Exemplars(MovedClock())))


def test_counters_and_gauges_are_written_with_their_labels() -> None:
    assert text(COUNTER, GAUGE, EMPTY) == (
        '# HELP toolway_things_total Things: "all" \\\\ of\\nthem.\n'
        "# TYPE toolway_things_total counter\n"
        'toolway_things_total{kind="a"} 3\n'
        "# HELP toolway_open Open.\n"
        "# TYPE toolway_open gauge\n"
        "toolway_open 2.5\n"
    )


def test_openmetrics_names_counters_without_their_ending_and_says_where_it_ends() -> None:
    assert text(COUNTER, form=Format.OPENMETRICS) == (
        '# HELP toolway_things Things: \\"all\\" \\\\ of\\nthem.\n'
        "# TYPE toolway_things counter\n"
        'toolway_things_total{kind="a"} 3\n'
        "# EOF\n"
    )


def test_buckets_of_a_histogram_count_all_that_is_below() -> None:
    assert text(TIMES).splitlines()[2:] == [
        f'{CALLS}_bucket{{method="m",le="0.1"}} 1',
        f'{CALLS}_bucket{{method="m",le="1.0"}} 1',
        f'{CALLS}_bucket{{method="m",le="+Inf"}} 3',
        f'{CALLS}_count{{method="m"}} 3',
        f'{CALLS}_sum{{method="m"}} 4.5',
    ]


def test_exemplars_are_in_openmetrics_only() -> None:
    exemplars = Exemplars(MovedClock())
    exemplars._last["m",] = {2: Exemplar("abc", 2.25, 1_700_000_000.5)}

    assert f'{CALLS}_bucket{{method="m",le="+Inf"}} 3 # {{trace_id="abc"}} 2.25 1700000000.500' in text(
        TIMES, form=Format.OPENMETRICS, exemplars=exemplars
    )
    assert "trace_id" not in text(TIMES, exemplars=exemplars)


@pytest.mark.server
def test_promtool_accepts_whatever_labels_hold() -> None:
    labels = ['a"b', "a\\b", "a\nb", "a\tb}", "ä\u2028\x7f", ""]
    odd = Family("toolway_odd_total", "Odd.", "counter", ("name",), {(each,): [1.0] for each in labels})

    checked("check", "metrics", given=text(odd, GAUGE))


@given(st.dictionaries(st.text(), st.floats(), max_size=5))
def test_every_series_is_a_line_of_its_own(values: dict[str, float]) -> None:
    family = Family("toolway_odd", "Odd.", "gauge", ("name",), {(key,): [value] for key, value in values.items()})

    assert text(family).count("\n") == (len(values) + 2 if values else 0)
