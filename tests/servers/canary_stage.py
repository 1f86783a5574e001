"""A gateway that has secrets in it: asks it, keeps everything that it tells, and finds secrets there."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import wire

TOOLWAY = str(Path(sys.executable).with_name("toolway"))
PIECE = 12
"""Characters of a secret that are too many to be told."""
JSON = {"content-type": "application/json"}


@dataclass
class Stage:
    """A gateway with secrets in it, and everything that it told: `answers` to somebody who had sent no secret."""

    url: str
    upstream: str
    token: str
    log: Path
    file: Path
    secrets: dict[str, str]
    environment: dict[str, str]
    patience: float = wire.SECONDS
    answers: list[str] = field(default_factory=list)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> wire.Answer:
        """As the administrator."""
        sent = None if body is None else json.dumps(body).encode()
        return self.send(method, path, sent, {**JSON, "authorization": f"Bearer {self.token}", **headers})

    def send(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> wire.Answer:
        """Keeps the answer, its head too."""
        answer = wire.send(self.url + path, method, body, headers, self.patience)
        self.answers.append(
            f"{method} {path.partition('?')[0]} {answer.status}\n{answer.headers}\n{_text(answer.body)}"
        )
        return answer

    def call(
        self, tool: str, headers: dict[str, str], arguments: dict[str, Any] | None = None, path: str = "/mcp"
    ) -> None:
        """A call in the new era."""
        params = {"name": tool, "arguments": arguments or {}, "_meta": MODERN_META}
        told = {"mcp-protocol-version": wire.MODERN, "mcp-method": "tools/call", "mcp-name": tool}
        self.send("POST", path, wire.message("tools/call", params, 1), {**wire.JSON_HEADERS, **told, **headers})

    def order(self, trick: str | None, method: str | None = None) -> None:
        """Let the upstream misbehave."""
        wanted = {"trick": trick, "method": method}
        wire.send(f"{self.upstream}/_order", "PUT", json.dumps(wanted).encode(), JSON)

    def found(self, text: str) -> set[str]:
        """The names of those secrets that a text has, as they are or in base64."""
        return {name for name, value in self.secrets.items() for each in _forms(value) if each in text}

    def leaks(self, since: int = 0) -> list[str]:
        """Where a secret is in what was answered, line by line, each with the request that it answers."""
        return [
            f"{answer.partition(chr(10))[0]} tells {found}: {line[:1000]}"
            for answer in self.answers[since:]
            if self.found(answer)
            for line in answer.splitlines()
            if (found := self.found(line))
        ]


MODERN_META = {f"{wire.PREFIX}/protocolVersion": wire.MODERN, f"{wire.PREFIX}/clientCapabilities": {}}


def _text(body: bytes) -> str:
    """What somebody can read; of an archive each file in it."""
    if not body.startswith(b"PK"):
        return body.decode()
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        return "\n".join(archive.read(name).decode() for name in archive.namelist())


@cache
def _forms(value: str) -> tuple[str, ...]:
    """Its beginning and pieces of it, for somebody may have cut it, and base64, which is one of three texts."""
    pieces = [value[at : at + PIECE] for at in range(max(0, len(value) - 2 * PIECE), len(value) - PIECE, 4)]
    encoded = [base64.b64encode(f"{before}{value}".encode()).decode()[4:-4] for before in ("", "x", "xx")]
    return value[: max(PIECE, len(value) - 18)], *pieces, *encoded


def look(stage: Stage) -> None:
    """Everything that can be read."""
    paths = json.loads(stage.ask("GET", "/api/v1/openapi.json").body)["paths"]
    for path, methods in paths.items():
        if "get" in methods and "{" not in path:
            stage.ask("GET", path)
    for name in ("env", "file", "literal", "sealed", "broken"):
        stage.ask("GET", f"/api/v1/upstreams/{name}")
    for what in ([], ["upstreams/env", "upstreams/literal", "upstreams/odd"]):
        stage.ask("POST", "/api/v1/export", {"what": what})


def commands(stage: Stage) -> None:
    """What commands say."""
    for command in (
        ["upstreams", "list"],
        ["call", "env__echo_raw"],
        ["plugins"],
        ["check", "--config", str(stage.file)],
        ["doctor"],
        ["doctor", "--config", str(stage.file)],
    ):
        stage.answers.append(ran(stage, *command))


def ran(stage: Stage, *command: str) -> str:
    """What a command writes."""
    known = {**stage.environment, "TOOLWAY_URL": stage.url, "TOOLWAY_TOKEN": stage.token}
    done = subprocess.run([TOOLWAY, *command], env=known, capture_output=True, text=True, timeout=60, check=False)
    return f"{command} ends with {done.returncode}\n{done.stdout}\n{done.stderr}"
