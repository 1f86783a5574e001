"""Every plugin fails, in its own functions and with secrets at hand, and nothing that the gateway tells has one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import canary
import checks
import faults
import pytest
from breakages import BREAKAGES
from canary_stage import look
from theatre import BUILDS, INSTALLED, PACKAGES, Theatre, chosen, opened, toml

from toolway_testing.ports import free_port

pytest.importorskip("toolway_masking")
pytest.importorskip("toolway_json_logging")
pytest.importorskip("toolway_reload")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

MOST = int(os.environ.get("TOOLWAY_TEST_FAULTS", "5"))
"""Functions of each plugin that fail; a thousand are all of them, which takes minutes."""
FEW = ("audit", "json-logging", "masking", "tokens")
"""Plugins of a gateway that is quick to build."""
ONLY_BUILT = {"hypercorn"}
"""Of which nothing else is used when every plugin is enabled."""
FORMS = ("json", "text", "")
"""How the log is written while they fail; the last is without json-logging, of which nothing can fail then."""


@pytest.fixture(scope="module")
def theatre(tmp_path_factory: pytest.TempPathFactory) -> Theatre:
    """Everything has failed; what can be read was read."""
    with opened(tmp_path_factory.mktemp("faults")) as theatre:
        every = chosen(theatre.survey(), MOST)
        forms = {where: form_of(where, number) for number, where in enumerate(every)}
        for form in FORMS:
            theatre.configure(form)
            theatre.break_all({where: step for where, step in every.items() if forms[where] == form})
        theatre.configure("json")
        look(theatre.stage)
    return theatre


def form_of(where: str, number: int) -> str:
    """How the log is written while the function fails that is chosen as the `number`th."""
    return FORMS[number % (2 if faults.plugin_of_function(where) == "json-logging" else len(FORMS))]


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
    log = theatre.stage.log.read_text()

    assert not theatre.stage.found(log), [line for line in log.splitlines() if theatre.stage.found(line)]


@pytest.fixture
def formed(tmp_path: Path) -> dict[str, str]:
    """Secrets that are known by their form before any is resolved, and the file of a gateway."""
    known = {
        "port": free_port(),
        "url": "http://127.0.0.1:9/",
        "closed": "http://127.0.0.1:9",
        "collector": "http://127.0.0.1:9",
    }
    secrets = {name: f"ghp_{canary.planted('')}" for name in ("Env", "File", "Literal", "Form", "Odd")}
    enabled = [name for name in INSTALLED if name in FEW]
    (tmp_path / "toolway.toml").write_text(toml(enabled, {**known, "folder": tmp_path, "form": "json", **secrets}))
    return secrets


def test_a_gateway_that_cannot_be_built_is_refused_without_secrets(tmp_path: Path, formed: dict[str, str]) -> None:
    done = ran(tmp_path, [str(Path(checks.__file__))], faults.installed(tmp_path / "installed", 0, formed))

    assert done.count("broken: ") > 5
    assert done.count("ended with 1") == done.count("broken: ") - 1, done
    assert [line for line in done.splitlines() if any(each[4:] in line for each in formed.values())] == []
    assert "[redacted]" in done


@pytest.mark.parametrize("kind", ["value", "unusable"])
def test_a_gateway_that_cannot_begin_ends_without_secrets(tmp_path: Path, formed: dict[str, str], kind: str) -> None:
    where = "toolway.bundled.accounts.bookkeeping:Bookkeeping:run"
    program = ["-c", "from toolway.cli import main; main()", "serve", "--config"]

    done = ran(tmp_path, program, faults.installed(tmp_path / "installed", 0, formed, {where: kind}))

    assert "toolway: it" in done
    assert [line for line in done.splitlines() if any(each[4:] in line for each in formed.values())] == []


def ran(directory: Path, program: list[str], environment: dict[str, str]) -> str:
    """What a program writes that gets the configuration as its last argument."""
    command = [sys.executable, *program, str(directory / "toolway.toml")]
    known = {**os.environ, "CANARY_ENV": "resolved-at-last", "CANARY_ODD": "resolved-too", **environment}
    done = subprocess.run(command, env=known, capture_output=True, text=True, timeout=240, check=False)
    return f"{done.stdout}\n{done.stderr}"
