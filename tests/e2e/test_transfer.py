"""Files of other programs are imported, and the tools of their servers, which others wrote, are called."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import programs
import pytest
import running

from toolway_testing.ports import free_port

pytest.importorskip("toolway_transfer")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

TOOLWAY = str(Path(sys.executable).with_name("toolway"))
PLUGINS = '[plugins]\nenable = ["transfer"]\n[plugins.transfer]\nallow_programs = true\n\n'


@dataclass(frozen=True)
class Stage:
    """A gateway without upstreams, a folder for files, and a server that others wrote on a port."""

    gate: running.Gateway
    folder: Path
    url: str

    def toolway(self, *arguments: object) -> str:
        """What the command prints; it succeeds."""
        done = self._ran(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def call(self, tool: str, *arguments: str) -> str:
        """What the tool answers, as soon as its upstream has been discovered."""
        running.poll(lambda: f'"{tool}"' in self.toolway("--json", "items", "list"), f"no {tool}", self.gate.log)
        return self.toolway("call", tool.replace("/", "__"), *arguments)

    def _ran(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        token = re.findall(r"twa_[\w-]+", self.gate.log.read_text())[0]
        known = {**os.environ, "TOOLWAY_URL": self.gate.url, "TOOLWAY_TOKEN": token}
        command = [TOOLWAY, *map(str, arguments)]
        return subprocess.run(command, env=known, capture_output=True, text=True, timeout=60, check=False)

    def imported(self, name: str, file: Any, *options: str) -> dict[str, str]:
        """What became of each object."""
        path = self.folder / name
        path.write_text(json.dumps(file))
        rows = json.loads(self.toolway("--json", "import", path, "--allow-private", *options))
        return {f"{row['kind']}/{row['name']}": row["action"] for row in rows}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder, port = tmp_path_factory.mktemp("transfer"), free_port()
    everything = programs.need("server-everything")
    with ExitStack() as stack:
        url = f"http://127.0.0.1:{port}/mcp"
        command = [*everything.command, "streamableHttp"]
        listening = stack.enter_context(
            running.child(command, folder / "server.log", lambda: answers(port), {"PORT": str(port)})
        )
        assert listening.poll() is None
        gate = stack.enter_context(running.gateway(folder, PLUGINS))
        yield Stage(gate, folder, url)


def answers(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_the_servers_of_claude_desktop_can_be_called_after_an_import(stage: Stage) -> None:
    clock, files = programs.need("mcp-server-time").command, programs.need("server-filesystem").command
    (stage.folder / "note.txt").write_text("read me")
    desktop = {
        "mcpServers": {
            "Clock": {
                "command": clock[0],
                "args": [*clock[1:], "--local-timezone", "UTC"],
                "env": {"API_KEY": "k-secret"},
            },
            "files": {"command": files[0], "args": [*files[1:], str(stage.folder)]},
            "remote": {"type": "http", "url": stage.url},
        }
    }

    done = stage.imported("claude_desktop_config.json", desktop)

    assert done == {"upstreams/Clock": "created", "upstreams/files": "created", "upstreams/remote": "created"}
    assert "UTC" in stage.call("clock/get_current_time", "timezone=UTC")
    assert "read me" in stage.call("files/read_text_file", f"path={stage.folder / 'note.txt'}")
    assert "hello" in stage.call("remote/echo", "message=hello")
    exported = stage.toolway("export", "upstreams/clock")
    assert "k-secret" not in exported and '"API_KEY": "sealed:hidden"' in exported


def test_the_gateways_of_context_forge_can_be_called_after_an_import(stage: Stage) -> None:
    forge = {
        "version": "2025-03-26",
        "exported_at": "2026-01-01T00:00:00Z",
        "exported_by": "admin@example.com",
        "source_gateway": "http://0.0.0.0:4444",
        "encryption_method": "AES-256-GCM",
        "entities": {
            "gateways": [
                {
                    "name": "Everything Server",
                    "url": stage.url,
                    "description": "All of it",
                    "transport": "STREAMABLEHTTP",
                    "capabilities": {"tools": {"listChanged": True}},
                    "health_check": {"url": f"{stage.url}/health", "interval": 30, "timeout": 10, "retries": 3},
                    "is_active": True,
                    "federation_enabled": True,
                    "tags": [],
                    "passthrough_headers": [],
                }
            ],
            "servers": [
                {"name": "Echoing", "description": "", "tool_ids": ["everything-server-echo"], "is_active": True}
            ],
            "tools": [],
            "roots": [],
        },
        "metadata": {"entity_counts": {"gateways": 1, "servers": 1}, "dependencies": {}, "export_options": {}},
    }

    done = stage.imported("forge.json", forge)

    assert done == {"upstreams/Everything Server": "created", "servers/echoing": "created"}
    assert "ahoi" in stage.call("everything-server/echo", "message=ahoi", "--server", "echoing")
