"""The gateway as a process: what is on its standard error, and workers that follow levels together."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from toolway_testing.polling import eventually_now
from toolway_testing.ports import free_port
from toolway_testing.processes import ON_BOTH_DATABASES, SECONDS, TwoProcesses, two_processes

COMMAND = [sys.executable, "-c", "from toolway.cli import main; main()", "serve", "--demo", "--config"]
TABLES = """
[plugins]
enable = ["json-logging", "masking"]
[plugins.json-logging]
queue = 100
"""


@pytest.fixture(params=ON_BOTH_DATABASES)
def nodes(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TwoProcesses]:
    with two_processes(request, tmp_path, TABLES.replace(', "masking"', "")) as started:
        yield started


def api(url: str, token: str, method: str, path: str, body: Any = None) -> Any:
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json", "connection": "close"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{url}/api/v1{path}", data, headers, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


@pytest.mark.slow
def test_all_nodes_follow_a_change_of_a_level_and_its_reset(nodes: TwoProcesses) -> None:
    def on_all(changed: str | None) -> bool:
        """New connections go to any worker, so many are asked."""
        asked = [api(nodes.urls[number % 2], nodes.token, "GET", "/loggers/toolway.x") for number in range(12)]
        return {each["changed"] for each in asked} == {changed}

    api(nodes.urls[0], nodes.token, "PUT", "/loggers/toolway.x", {"level": "ERROR"})
    eventually_now(lambda: on_all("ERROR"), 10)

    api(nodes.urls[1], nodes.token, "DELETE", "/loggers/toolway.x")
    eventually_now(lambda: on_all(None), 10)


def configured(directory: Path) -> tuple[Path, str]:
    url = f"127.0.0.1:{free_port()}"
    file = directory / "toolway.toml"
    gateway = f'[gateway]\nbind = "{url}"\ndata_dir = "{directory / "data"}"\ndrain_delay = 0\n'
    file.write_text(gateway + TABLES)
    return file, f"http://{url}"


def ended(process: subprocess.Popen[Any]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(SECONDS)
    finally:
        process.kill()


@pytest.mark.slow
def test_a_gateway_writes_json_lines_until_its_end(tmp_path: Path) -> None:
    file, url = configured(tmp_path)
    welcome, log = tmp_path / "out", tmp_path / "err"
    with welcome.open("w") as out, log.open("w") as err:
        process = subprocess.Popen([*COMMAND, str(file)], stdout=out, stderr=err)
        try:
            eventually_now(lambda: "Ctrl-C stops it." in welcome.read_text(), SECONDS)
            token = re.findall(r"twa_[\w-]+", welcome.read_text())[0]
            api(url, token, "PUT", "/loggers/root", {"level": "DEBUG"})
            api(url, token, "DELETE", "/loggers/root")
        finally:
            ended(process)

    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert token not in log.read_text()
    assert {"toolway.access", "toolway_json_logging.operations"} <= {each["logger"] for each in lines}
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", each["timestamp"]) for each in lines)
    assert process.returncode == 0


@pytest.mark.slow
def test_a_terminal_that_stands_still_holds_up_nothing(tmp_path: Path) -> None:
    file, url = configured(tmp_path)
    master, terminal = pty.openpty()
    process = subprocess.Popen([*COMMAND, str(file)], stdout=subprocess.PIPE, stderr=terminal, text=True)
    try:
        assert process.stdout is not None
        token = ""
        while not token:
            token = "".join(re.findall(r"twa_[\w-]+", process.stdout.readline()))
        eventually_now(lambda: _answers(url), SECONDS)

        for _ in range(400):  # nobody reads: the terminal's buffer is full after a few lines
            api(url, token, "GET", "/servers")

        os.set_blocking(master, False)
        seen = b""

        def told() -> bool:
            nonlocal seen
            try:
                seen += os.read(master, 1 << 20)
            except BlockingIOError:
                return False
            return b"log lines were dropped" in seen

        eventually_now(told, 10)
        assert b"\x1b[32mINFO" in seen
    finally:
        ended(process)
        if process.stdout is not None:
            process.stdout.close()
        os.close(master)
        os.close(terminal)
    assert process.returncode == 0


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2):
            return True
    except OSError:
        return False
