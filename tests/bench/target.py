"""One thing that is measured: where it listens, who it is on the machine, and the requests that it understands."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from urllib.parse import urlsplit

MODERN, LEGACY = "2026-07-28", "2025-11-25"
META = {"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {}}
TEXT = "hello world, this is a small argument"
REQUEST_ID = 42

Json = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """`pid` is the process whose family is charged for the calls; None for what runs on the load's core.

    `patience` is how many times longer a slow one is measured.
    """

    name: str
    url: str
    pid: int | None = None
    tool: str = "echo"
    era: Literal["modern", "legacy"] = "modern"
    headers: Mapping[str, str] = field(default_factory=dict)
    session: str = ""
    progress: bool = False
    patience: float = 1.0
    note: str = ""

    def on(self, **changes: Any) -> Target:
        """The same with other fields."""
        return replace(self, **changes)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return address(self.url)

    def call(self, text: str = TEXT, request_id: int = REQUEST_ID) -> bytes:
        """A whole HTTP request with a `tools/call`, as bytes; with `progress` it asks to be told of it."""
        meta = {"_meta": {"progressToken": request_id}} if self.progress else {}
        return self.request("tools/call", {"name": self.tool, "arguments": {"text": text}, **meta}, request_id)

    def request(self, method: str, params: Json | None = None, request_id: int | None = REQUEST_ID) -> bytes:
        """A whole HTTP request with this message; without an id it is a notification."""
        members = dict(params or {})
        if self.era == "modern":
            members["_meta"] = {**META, **members.get("_meta", {})}
        identity = {} if request_id is None else {"id": request_id}
        body = json.dumps({"jsonrpc": "2.0", **identity, "method": method, "params": members}, separators=(",", ":"))
        return self._head("POST", method, str(members.get("name", "")), len(body)) + body.encode()

    def _head(self, verb: str, method: str, name: str, length: int) -> bytes:
        parts = urlsplit(self.url)
        fields = {
            "Host": parts.netloc,
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "Content-Length": str(length),
            **self.headers,
        }
        if self.era == "modern":
            fields |= {"MCP-Protocol-Version": MODERN, "Mcp-Method": method} | ({"Mcp-Name": name} if name else {})
        elif self.session:
            fields |= {"MCP-Protocol-Version": LEGACY, "Mcp-Session-Id": self.session}
        lines = [f"{verb} {parts.path} HTTP/1.1", *(f"{key}: {value}" for key, value in fields.items())]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


def address(url: str) -> tuple[str, int]:
    """Host and port of a URL."""
    parts = urlsplit(url)
    return str(parts.hostname), int(parts.port or 80)
