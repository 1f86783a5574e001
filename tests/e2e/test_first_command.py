"""The README's first command, typed in an empty folder by somebody who has Python only; without its constraints."""

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import running
import wire

from toolway_testing.ports import free_port
from toolway_testing.servers import require_server

CORE = Path(__file__).resolve().parents[2] / "core"
STOP_SECONDS = 20.0
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@dataclass
class Started:
    """A gateway that runs until the block ends."""

    url: str
    log: Path
    code: int | None = None
    """Its exit code, after Ctrl-C."""

    @property
    def printed(self) -> str:
        return self.log.read_text()

    @property
    def client_configuration(self) -> dict[str, Any]:
        """What the newcomer pastes into a client."""
        shown = re.search(r"^ *client configuration:\n(.*?^    \})$", self.printed, re.MULTILINE | re.DOTALL)
        assert shown is not None, self.printed
        configuration: dict[str, Any] = json.loads(shown[1])
        return configuration


@pytest.fixture(scope="module")
def toolway(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The command in a fresh virtual environment. What is installed is a copy: a build leaves files in the source."""
    clone = tmp_path_factory.mktemp("clone")
    shutil.copytree(CORE, clone / "core", ignore=shutil.ignore_patterns("__pycache__", "build", "dist", "tests"))
    subprocess.run([sys.executable, "-m", "venv", ".venv"], cwd=clone, check=True)
    installed = pip(clone, "install", "-q", "./core")
    if installed.returncode and (probe := pip(clone, "index", "versions", "pip")).returncode:
        require_server("a package index", f"pip cannot reach one ({probe.stderr.strip().splitlines()[-1]})")
    assert installed.returncode == 0, installed.stderr
    return str(clone / ".venv/bin/toolway")


def test_a_newcomer_is_told_how_to_connect_and_can_call_a_tool(toolway: str, tmp_path: Path) -> None:
    with demo(toolway, tmp_path) as started:
        assert started.printed.startswith(f"Toolway serves 1 upstream on {started.url}\n")
        (client,) = started.client_configuration["mcpServers"].values()
        assert client == {"type": "http", "url": f"{started.url}/mcp"}
        running.poll(lambda: "demo__add" in running.list_tools(client["url"]), "no demo tool", started.log)

        assert wire.ModernClient(client["url"]).call("demo__add", {"a": 1, "b": 2}).text == "3"


def test_a_newcomer_is_given_an_admin_token_once(toolway: str, tmp_path: Path) -> None:
    with demo(toolway, tmp_path) as first:
        (token,) = re.findall(r"first admin token \(shown once\): (twa_\S+)$", first.printed, re.MULTILINE)
        headers = {"Authorization": f"Bearer {token}"}
        assert wire.send(f"{first.url}/api/v1/plugins", headers=headers).status == 200
    with demo(toolway, tmp_path) as second:
        assert "twa_" not in second.printed
        assert wire.send(f"{second.url}/api/v1/plugins", headers=headers).status == 200


def test_ctrl_c_ends_it_cleanly_and_leaves_the_state_only(toolway: str, tmp_path: Path) -> None:
    with demo(toolway, tmp_path) as started:
        pass

    assert started.code == 0
    assert started.printed.endswith("Ctrl-C stops it.\n")
    assert [path.name for path in tmp_path.iterdir() if path != started.log] == ["toolway-data"]


def pip(clone: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(clone / ".venv/bin/pip"), "--disable-pip-version-check", *arguments]
    return subprocess.run(command, cwd=clone, capture_output=True, text=True)


@contextmanager
def demo(toolway: str, directory: Path) -> Iterator[Started]:
    """`toolway serve --demo` in that directory, on a free port, ended with Ctrl-C."""
    port, log = free_port(), directory / "printed.txt"
    environment = {"TOOLWAY_GATEWAY__BIND": f"127.0.0.1:{port}", "PYTHONPATH": ""}
    command = [toolway, "serve", "--demo"]
    with running.child(command, log, lambda: "Ctrl-C" in running.tail(log), environment, cwd=directory) as process:
        started = Started(f"http://127.0.0.1:{port}", log)
        yield started
        process.send_signal(signal.SIGINT)
        started.code = process.wait(STOP_SECONDS)
