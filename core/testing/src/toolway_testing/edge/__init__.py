"""What every server runner must do: contracts over real sockets, which the runner's own test classes inherit.

Write `class TestFraming(FramingContract)` and so on, with a fixture `runner` beside them.
"""

from toolway_testing.edge.drain import DrainContract
from toolway_testing.edge.failures import FailuresContract
from toolway_testing.edge.framing import FramingContract
from toolway_testing.edge.known_heads import KnownHeadsContract
from toolway_testing.edge.limits import LimitsContract
from toolway_testing.edge.names import NamesContract
from toolway_testing.edge.proxies import ProxiesContract
from toolway_testing.edge.tls import TlsContract

__all__ = [
    "DrainContract",
    "FailuresContract",
    "FramingContract",
    "KnownHeadsContract",
    "LimitsContract",
    "NamesContract",
    "ProxiesContract",
    "TlsContract",
]
