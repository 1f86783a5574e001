"""Makes the tests' own programs importable: `programs` and `running` (tests/servers), `driving` (tests/clients)."""

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / part) for part in ("servers", "clients") if str(TESTS / part) not in sys.path]
