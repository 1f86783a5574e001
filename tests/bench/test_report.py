"""What the benchmark says about a run; the run itself needs a quiet machine and is no test."""

import xml.etree.ElementTree as ET
from pathlib import Path

import baseline
import chart
import flame
import page
from outcome import Outcome, Table, Verdict

SVG = "{http://www.w3.org/2000/svg}"


def test_a_ratio_that_fell_by_more_than_fifteen_percent_is_a_loss(tmp_path: Path) -> None:
    recorded = tmp_path / "baseline.json"
    baseline.record([Outcome("calls", ratios={"a / nginx": 0.40, "b / nginx": 0.40})], {}, recorded)

    found = baseline.losses([Outcome("calls", ratios={"a / nginx": 0.35, "b / nginx": 0.33})], recorded)

    assert found == ["calls: b / nginx fell from 0.400 to 0.330"]


def test_recording_one_scenario_keeps_what_was_recorded_of_the_others(tmp_path: Path) -> None:
    recorded = tmp_path / "baseline.json"
    baseline.record([Outcome("calls", ratios={"a": 1.0}), Outcome("large", ratios={"b": 1.0})], {}, recorded)

    baseline.record([Outcome("calls", ratios={"a": 2.0})], {}, recorded)

    losses = baseline.losses([Outcome("calls", ratios={"a": 1.0}), Outcome("large", ratios={"b": 0.5})], recorded)
    assert losses == ["calls: a fell from 2.000 to 1.000", "large: b fell from 1.000 to 0.500"]


def test_a_scenario_that_was_never_recorded_cannot_lose(tmp_path: Path) -> None:
    assert baseline.losses([Outcome("calls", ratios={"a": 0.0})], tmp_path / "none.json") == []


def test_a_verdict_says_what_was_wanted() -> None:
    assert str(Verdict("rate", 0.5, "at least", 0.31, "x")) == "PASS  rate: 0.5x, wanted at least 0.31x"
    assert str(Verdict("start", 2.0, "at most", 1.2, " s")) == "FAIL  start: 2 s, wanted at most 1.2 s"


def test_the_columns_of_a_table_are_aligned() -> None:
    assert str(Table("calls", [["", "req/s"], ["nginx", "9"]])) == "calls\n       req/s\nnginx      9"


def test_the_chart_has_a_bar_for_each_name_and_says_it_in_words() -> None:
    drawn = ET.fromstring(chart.draw("Calls", "on one core", {"nginx": 30_000.0, "a & b": 10.0}))

    bars = [float(bar.attrib["width"]) for bar in drawn.iter(f"{SVG}rect")]
    assert len(bars) == 2
    assert bars[0] > bars[1]
    assert drawn.attrib["aria-label"] == "Calls. nginx: 30 000/s, a & b: 10/s"


def test_the_flame_graph_is_as_wide_as_the_cost() -> None:
    drawn = ET.fromstring(flame.draw("calls", {("a  run", "b  send"): 75.0, ("a  run", "c  <wait>"): 25.0}))

    titles = [title.text for title in drawn.iter(f"{SVG}title")]
    assert titles == ["a  run: 100.0 µs", "b  send: 75.0 µs", "c  <wait>: 25.0 µs"]


def test_a_table_is_put_where_the_page_has_its_place(tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    file.write_text("before\n<!-- bench: costs -->\nold\n<!-- end: costs -->\nafter\n")

    page.put(file, "costs", Table("", [["", "µs"], ["plain", "9"]]))

    table = "|  | µs |\n| --- | ---: |\n| plain | 9 |\n"
    assert file.read_text() == f"before\n<!-- bench: costs -->\n\n{table}\n<!-- end: costs -->\nafter\n"
