"""The built-in server runner keeps the contract, and speaks HTTP/2."""

from __future__ import annotations

import pytest

from toolway.bundled.hypercorn.connection import HypercornRunner
from toolway_testing import edge

pytestmark = pytest.mark.usefixtures("others")


@pytest.fixture
def runner() -> HypercornRunner:
    return HypercornRunner()


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
