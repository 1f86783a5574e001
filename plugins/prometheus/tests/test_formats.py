"""What clients accept decides the format."""

from __future__ import annotations

import pytest

from toolway_prometheus.formats import Format, wanted

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;"
    "q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)


@pytest.mark.parametrize("accept", [PROMETHEUS, PROMETHEUS_3, "application/openmetrics-text"])
def test_openmetrics_is_for_those_who_name_it(accept: str) -> None:
    assert wanted(accept) is Format.OPENMETRICS


@pytest.mark.parametrize(
    "accept",
    [
        *("", "*/*", "text/html,*/*;q=0.8", "text/plain", "nonsense;;q=x", "application/openmetrics-text;q=0"),
        *("text/plain, application/openmetrics-text;q=0.5", "application/openmetrics-text;q=1.1.1"),
    ],
)
def test_everybody_else_gets_the_older_format(accept: str) -> None:
    assert wanted(accept) is Format.PLAIN
