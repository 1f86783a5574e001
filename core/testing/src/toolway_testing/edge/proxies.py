"""Forwarded headers count only from the proxies that the operator named, and never reach the application."""

from __future__ import annotations

import pytest

from toolway_testing.edge.node import OpenGate, RunnerContract

FORWARDED = ("X-Forwarded-For: 203.0.113.7", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil", "Forwarded: for=1")


class ProxiesContract(RunnerContract):
    """Inherit it beside a fixture `runner`."""

    async def test_forwarded_headers_of_strangers_are_ignored_and_removed(self, gate: OpenGate) -> None:
        seen = (await (await gate()).get("/", *FORWARDED)).json

        assert seen["client"][0] == "127.0.0.1"
        assert seen["scheme"] == "http"
        assert not [name for name, _ in seen["headers"] if "forwarded" in name]

    async def test_a_trusted_proxy_names_client_and_scheme(self, gate: OpenGate) -> None:
        seen = (await (await gate(trusted_proxies=["127.0.0.0/8"])).get("/", *FORWARDED)).json

        assert seen["client"] == ["203.0.113.7", 0]
        assert seen["scheme"] == "https"
        assert not [name for name, _ in seen["headers"] if "forwarded" in name]

    @pytest.mark.parametrize(
        ("forwarded", "client"),
        [
            ("6.6.6.6, 203.0.113.7", "203.0.113.7"),
            ("6.6.6.6, 203.0.113.7, 127.0.0.9", "203.0.113.7"),
            ("6.6.6.6, junk, 127.0.0.9", "127.0.0.9"),
            ("203.0.113.7:5555", "203.0.113.7"),
            ("[2001:db8::1]:5555", "2001:db8::1"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("junk", "127.0.0.1"),
            ("", "127.0.0.1"),
        ],
    )
    async def test_only_the_hop_that_a_trusted_proxy_saw_is_believed(
        self, gate: OpenGate, forwarded: str, client: str
    ) -> None:
        node = await gate(trusted_proxies=["127.0.0.0/8"])

        seen = (await node.get("/", f"X-Forwarded-For: {forwarded}")).json

        assert seen["client"][0] == client

    @pytest.mark.parametrize("path", ["/toolway/mcp", "/mcp"])
    async def test_the_root_path_is_part_of_the_path_whether_or_not_the_proxy_removed_it(
        self, gate: OpenGate, path: str
    ) -> None:
        seen = (await (await gate(root_path="/toolway/")).get(path)).json

        assert (seen["path"], seen["root_path"]) == ("/toolway/mcp", "/toolway")

    async def test_a_path_that_only_begins_like_the_root_path_is_one_below_it(self, gate: OpenGate) -> None:
        seen = (await (await gate(root_path="/toolway")).get("/toolwayevil/mcp")).json

        assert seen["path"] == "/toolway/toolwayevil/mcp"
