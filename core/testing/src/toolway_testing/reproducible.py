"""Generated tests that find the same everywhere (for pytest: `-p toolway_testing.reproducible`).

Hypothesis also tries constants of the modules that happen to be imported. Which those are depends on how tests are
shared out among processes, so a test with `derandomize` failed on one machine and passed on the next. With another
profile, which searches, they stay.
"""

import pytest
from hypothesis import settings
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants


@pytest.hookimpl(trylast=True)
def pytest_configure() -> None:
    """Takes no constants when the profile in use is derandomized."""
    if settings().derandomize:
        nothing = Constants()
        providers._get_local_constants = lambda: nothing
