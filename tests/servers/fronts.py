"""Gateways that several files of end-to-end tests stand in front of."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import running
import wire

Client = wire.ModernClient | wire.LegacyClient


@dataclass(frozen=True)
class Door:
    """A gateway with one public server and one that needs a credential."""

    gate: running.Gateway
    token: str

    @property
    def url(self) -> str:
        return self.gate.endpoint

    @property
    def modern(self) -> wire.ModernClient:
        return wire.ModernClient(self.url)

    def post(self, body: bytes = b"{}", **headers: str) -> wire.Answer:
        """A legacy POST; headers are named with underscores."""
        own = {name.replace("_", "-"): value for name, value in headers.items()}
        return wire.send(self.url, "POST", body, {**wire.JSON_HEADERS, **own})

    def raw(self, head: str, body: bytes = b"") -> tuple[int, bytes]:
        """Status and everything that comes for a POST with these header lines."""
        lines = f"POST {urlsplit(self.url).path} HTTP/1.1\r\n{head}\r\n\r\n"
        answer = wire.raw(self.url, lines.encode("latin-1") + body)
        status = re.match(rb"HTTP/1\.1 ([0-9]{3})", answer)
        return int(status[1]) if status else 0, answer


@contextmanager
def door(directory: Path) -> Iterator[Door]:
    """The gateway of a `Door`, with the raw upstream behind it."""
    with running.raw_upstream(directory) as upstream:
        closed = '[[servers]]\nname = "closed"\naccess = "authenticated"\n\n'
        tables = running.upstream_table("raw", upstream) + running.server_table("raw/*") + closed
        with running.gateway(directory, tables) as gate:
            running.wait_for_tool(gate, "echo_raw")
            yield Door(gate, admin_token(gate))


@dataclass(frozen=True)
class Cell:
    """One upstream behind a gateway."""

    gate: running.Gateway
    upstream: str
    """The era that the upstream speaks."""

    @property
    def url(self) -> str:
        return self.gate.endpoint

    def modern(self, **capabilities: Any) -> wire.ModernClient:
        return wire.ModernClient(self.url, capabilities)

    def legacy(self, **capabilities: Any) -> wire.LegacyClient:
        return wire.LegacyClient(self.url, capabilities)

    def client(self, era: str, **capabilities: Any) -> Client:
        return self.legacy(**capabilities) if era == "legacy" else self.modern(**capabilities)

    def count(self, of: str) -> int:
        """How many calls of `slow` run, or were cancelled."""
        return int(self.modern().call(f"{of}_count").text)


@contextmanager
def cell(directory: Path, era: str) -> Iterator[Cell]:
    """The gateway of a `Cell`, with the fixture behind it in one era."""
    with running.everything(directory, "--era", era) as upstream:
        tables = running.upstream_table("fixture", upstream) + running.server_table("fixture/*")
        with running.gateway(directory, tables) as gate:
            running.wait_for_tool(gate, "echo")
            yield Cell(gate, era)


def admin_token(gate: running.Gateway) -> str:
    """The first admin token, which a gateway prints when it makes its data directory."""
    return str(re.findall(r"twa_[\w-]+", gate.log.read_text())[0])


def complaints(gate: running.Gateway) -> list[str]:
    """Lines of the log that tell of a failure which nobody foresaw."""
    lines = gate.log.read_text(errors="replace").splitlines()
    return [line for line in lines if "Traceback" in line or "unexpectedly" in line or "never retrieved" in line]
