"""Labels are told without what is secret in them."""

from toolway.hookspecs.telemetry import Family
from toolway.plugin import hidden


def test_series_whose_labels_become_the_same_are_added_up() -> None:
    series: dict[tuple[str, ...], list[float]] = {
        ("http://up/?key=one", "ok"): [1.0],
        ("http://up/?key=two", "ok"): [2.0],
        ("http://up/", "ok"): [4.0],
    }
    family = Family("calls_total", "Calls.", "counter", ("endpoint", "outcome"), series)

    [told] = hidden([family], lambda label: label.partition("=")[0])

    assert told.series == {("http://up/?key", "ok"): [3.0], ("http://up/", "ok"): [4.0]}


def test_each_label_is_looked_at_once_and_a_family_without_secrets_stays_itself() -> None:
    families = [Family(name, "", "counter", ("upstream",), {("up",): [1.0]}) for name in ("a", "b")]
    asked: list[str] = []

    def redact(label: str) -> str:
        asked.append(label)
        return label

    told = list(hidden(families, redact))

    assert all(one is other for one, other in zip(told, families, strict=True))
    assert asked == ["up"]
