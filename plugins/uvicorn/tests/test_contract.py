"""The runner keeps the contract of all server runners."""

from __future__ import annotations

import pytest

from toolway_testing import edge
from toolway_uvicorn.connection import UvicornRunner


@pytest.fixture
def runner() -> UvicornRunner:
    return UvicornRunner()


class TestFraming(edge.FramingContract):
    pass


class TestKnownHeads(edge.KnownHeadsContract):
    pass


class TestLimits(edge.LimitsContract):
    pass


class TestFailures(edge.FailuresContract):
    pass


class TestDrain(edge.DrainContract):
    pass


class TestTls(edge.TlsContract):
    pass


class TestNames(edge.NamesContract):
    pass


class TestProxies(edge.ProxiesContract):
    pass
