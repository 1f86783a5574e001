"""Every plugin fails, in its own functions and with secrets at hand, and nothing that the gateway tells has one."""

from __future__ import annotations

import os

import faults
import pytest
from breakages import BREAKAGES
from canary_stage import read
from theatre import BUILDS, INSTALLED, PACKAGES, Theatre, chosen, opened

pytest.importorskip("toolway_masking")
pytest.importorskip("toolway_json_logging")
pytest.importorskip("toolway_reload")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

MOST = int(os.environ.get("TOOLWAY_TEST_FAULTS", "8"))
"""Functions of each plugin that fail; a thousand are all of them, which takes minutes."""
ONLY_BUILT = {"hypercorn"}
"""Of which nothing else is used when every plugin is enabled."""


@pytest.fixture(scope="module")
def theatre(tmp_path_factory: pytest.TempPathFactory) -> Theatre:
    """Everything has failed; what can be read was read."""
    with opened(tmp_path_factory.mktemp("faults")) as theatre:
        every = [*chosen(theatre.survey(), MOST).items()]
        for number, form in enumerate(("json", "text", "")):
            theatre.configure(form)
            theatre.break_all(dict(every[number::3]))
        theatre.configure("json")
        read(theatre.stage)
    return theatre


def test_every_plugin_failed(theatre: Theatre) -> None:
    expected = {name for name in PACKAGES if name in INSTALLED or faults.is_bundled(name)}
    later = {faults.plugin_of_function(each) for each, step in theatre.ordered.items() if step not in BUILDS}

    assert theatre.failed(while_built=True) == expected
    assert theatre.failed(while_built=False) == later >= expected - ONLY_BUILT
    assert set(theatre.raised.values()) == {*BREAKAGES}


def test_no_secret_is_in_what_anybody_is_told(theatre: Theatre) -> None:
    assert theatre.leaks == []
    assert theatre.stage.leaks() == []


def test_no_secret_is_in_the_log(theatre: Theatre) -> None:
    lines = theatre.stage.log.read_text().splitlines()

    assert [line for line in lines if theatre.stage.found(line)] == []
