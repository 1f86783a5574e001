"""All workers, and all nodes of one database, follow a reload together or not at all."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from toolway_testing.polling import eventually_now
from toolway_testing.processes import ON_BOTH_DATABASES, TwoProcesses, two_processes

TABLES = """
[plugins]
enable = ["reload"]
[plugins.reload]
watch = false
"""


@pytest.fixture(params=ON_BOTH_DATABASES)
def nodes(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TwoProcesses]:
    with two_processes(request, tmp_path, TABLES) as started:
        check = {"dry_run": True}
        eventually_now(lambda: len(api(started, 0, "POST", "/api/v1/reload", check)["nodes"]) == 2, 20)
        yield started


def api(nodes: TwoProcesses, node: int, method: str, path: str, body: Any = None) -> Any:
    headers = {"authorization": f"Bearer {nodes.token}", "content-type": "application/json", "connection": "close"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{nodes.urls[node]}{path}", data, headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def rewrite(tmp_path: Path, add: str, only: str = "*") -> None:
    for file in tmp_path.glob(f"{only}.toml"):
        file.write_text(file.read_text() + add)


def servers(nodes: TwoProcesses, node: int) -> set[str]:
    return {each["name"] for each in api(nodes, node, "GET", "/api/v1/servers")["items"]}


def on_every_worker(nodes: TwoProcesses, name: str) -> bool:
    """Whether each has that server: new connections go to any worker, so many are asked."""
    return all(name in servers(nodes, number % 2) for number in range(12))


@pytest.mark.slow
def test_all_nodes_follow_without_a_lost_request(nodes: TwoProcesses, tmp_path: Path) -> None:
    wrong, count, is_over = list[object](), 0, threading.Event()

    def load(node: int) -> None:
        nonlocal count
        while not is_over.is_set():
            try:
                assert api(nodes, node, "GET", "/api/v1/servers")["items"]
                count += 1
            except (OSError, ValueError, AssertionError) as error:
                wrong.append(error)

    threads = [threading.Thread(target=load, args=(node,)) for node in (0, 1, 0, 1)]
    for thread in threads:
        thread.start()
    try:
        for number in range(5):
            rewrite(tmp_path, f'\n[[servers]]\nname = "new-{number}"\n')
            report = api(nodes, number % 2, "POST", "/api/v1/reload", {})
            assert (report["outcome"], len(report["nodes"])) == ("in force", 2), report
            assert on_every_worker(nodes, f"new-{number}")
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    assert not wrong
    assert count > 20


@pytest.mark.slow
def test_if_one_cannot_use_it_none_changes(nodes: TwoProcesses, tmp_path: Path) -> None:
    rewrite(tmp_path, '\n[[servers]]\nname = "new"\n')
    rewrite(tmp_path, "\n[[servers]]\nnaem = 1\n", only=max(tmp_path.glob("*.toml")).stem)

    report = api(nodes, 0, "POST", "/api/v1/reload", {})

    assert report["outcome"] == "refused"
    assert "naem" in report["problem"]
    assert "new" not in servers(nodes, 0) | servers(nodes, 1)


@pytest.mark.slow
@pytest.mark.parametrize("nodes", ["postgres"], indirect=True)
def test_if_one_can_use_it_but_not_start_it_that_is_said(nodes: TwoProcesses, tmp_path: Path) -> None:
    pytest.importorskip("toolway_vault", reason="the plugin vault starts only where it can log in")
    rewrite(tmp_path, '\n[[servers]]\nname = "new"\n')
    file = max(tmp_path.glob("*.toml"))
    vault = 'address = "http://127.0.0.1:1"\nlogin = { method = "token", token = "literal:none" }'
    file.write_text(file.read_text().replace('["reload"]', '["reload", "vault"]') + f"\n[plugins.vault]\n{vault}\n")

    report = api(nodes, 0, "POST", "/api/v1/reload", {})

    assert report["outcome"] == "in part"
    assert [bool(node["problem"]) for node in report["nodes"]].count(True) == 1
    assert sum("new" in servers(nodes, node) for node in (0, 1)) == 1
    (check,) = [each for each in api(nodes, 0, "GET", "/api/v1/health")["checks"] if each["name"] == "reload"]
    assert "on some nodes only" in check["detail"]


@pytest.mark.slow
def test_sighup_of_one_process_and_the_command(nodes: TwoProcesses, tmp_path: Path) -> None:
    rewrite(tmp_path, '\n[[servers]]\nname = "by-signal"\n')
    file = min(tmp_path.glob("*.toml"))
    oldest = subprocess.run(["pgrep", "-o", "-f", str(file)], capture_output=True, text=True, check=True).stdout
    os.kill(int(oldest), signal.SIGHUP)
    eventually_now(lambda: on_every_worker(nodes, "by-signal"), 20)

    rewrite(tmp_path, '\n[[servers]]\nname = "by-command"\n')
    tried = toolway(nodes, "reload", "--dry-run")
    assert "servers.by-command" in tried.stdout
    assert "by-command" not in servers(nodes, 0)
    done = toolway(nodes, "reload")
    assert (done.returncode, "in force on 2 nodes" in done.stderr) == (0, True), done
    assert on_every_worker(nodes, "by-command")

    rewrite(tmp_path, "\nnothing of the kind\n")
    refused = toolway(nodes, "reload")
    assert refused.returncode == 1
    assert re.match(r"refused, nothing changed: .*is not TOML", refused.stderr)
    last = toolway(nodes, "reload", "--last", "--json")
    assert json.loads(last.stdout)[0]["outcome"] == "refused"


@pytest.mark.slow
@pytest.mark.parametrize("nodes", ["sqlite"], indirect=True)
def test_a_worker_that_replaces_another_begins_with_what_is_in_force(nodes: TwoProcesses, tmp_path: Path) -> None:
    rewrite(tmp_path, '\n[[servers]]\nname = "new"\n')
    assert api(nodes, 0, "POST", "/api/v1/reload", {})["outcome"] == "in force"
    rewrite(tmp_path, "\nnothing of the kind\n")
    [file] = tmp_path.glob("*.toml")
    supervisor, *workers = _processes(file)
    for worker in workers:
        os.kill(worker, signal.SIGKILL)

    eventually_now(lambda: len(_processes(file)) == 3 and workers[0] not in _processes(file), 20)
    eventually_now(lambda: on_every_worker(nodes, "new"), 20)
    assert _processes(file)[0] == supervisor


def _processes(file: Path) -> list[int]:
    """The supervisor and its workers, oldest first."""
    found = subprocess.run(["pgrep", "-f", str(file)], capture_output=True, text=True, check=True).stdout
    return sorted(int(each) for each in found.split())


def toolway(nodes: TwoProcesses, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = "from toolway.cli import main; main()"
    environment = {**os.environ, "TOOLWAY_URL": nodes.urls[0], "TOOLWAY_TOKEN": nodes.token, "COLUMNS": "200"}
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
