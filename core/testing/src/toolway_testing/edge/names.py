"""Who may call: Host against DNS rebinding, Origin against foreign pages, CORS for the pages that may."""

from __future__ import annotations

import pytest

from toolway_testing.edge.node import OpenGate, RunnerContract


class NamesContract(RunnerContract):
    """Inherit it beside a fixture `runner`."""

    @pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:99", "[::1]:80", "localhost."])
    async def test_loopback_names_are_served(self, gate: OpenGate, host: str) -> None:
        assert (await (await gate()).get("/", f"Host: {host}")).status == 200

    @pytest.mark.parametrize(
        "host", ["evil.example", "127.0.0.1.evil.example", "", "a b", "127.0.0.1:x", "[::1", "10.0.0.1", "a@b"]
    )
    async def test_a_foreign_host_is_misdirected(self, gate: OpenGate, host: str) -> None:
        node = await gate()

        answer = await node.get("/", f"Host: {host}")

        assert answer.status in (400, 421)
        assert node.app.requests == []

    async def test_the_host_of_the_public_url_and_allowed_hosts_are_served(self, gate: OpenGate) -> None:
        node = await gate(public_url="https://tools.example.com/x", allowed_hosts=["gate.example.org", "*.internal"])

        assert (await node.get("/", "Host: tools.example.com")).status == 200
        assert (await node.get("/", "Host: gate.example.org:8443")).status == 200
        assert (await node.get("/", "Host: a.internal")).status == 200
        assert (await node.get("/", "Host: internal")).status == 421

    @pytest.mark.parametrize(
        "origin", ["http://localhost:5173", "http://127.0.0.1", "https://[::1]:8", "http://a.localhost:1"]
    )
    async def test_loopback_origins_may_call_a_gateway_on_loopback(self, gate: OpenGate, origin: str) -> None:
        answer = await (await gate()).get("/", f"Origin: {origin}")

        assert answer.status == 200
        assert answer.headers["access-control-allow-origin"] == origin
        assert "Mcp-Session-Id" in answer.headers["access-control-expose-headers"]
        assert "WWW-Authenticate" in answer.headers["access-control-expose-headers"]

    @pytest.mark.parametrize(
        "origin",
        [
            "http://evil.example",
            "null",
            "http://localhost.evil.example",
            "file://localhost",
            "http://localhost:1@evil",
            "",
        ],
    )
    async def test_a_foreign_origin_is_refused(self, gate: OpenGate, origin: str) -> None:
        node = await gate()

        answer = await node.get("/", f"Origin: {origin}")

        assert (answer.status, answer.json["code"]) == (403, "wrong_origin")
        assert "access-control-allow-origin" not in answer.headers
        assert node.app.requests == []

    async def test_a_page_of_the_gateway_itself_may_call(self, gate: OpenGate) -> None:
        node = await gate(bind="0.0.0.0:1", public_url="https://tools.example.com", allowed_hosts=["other.example"])

        assert (await node.get("/", "Origin: https://tools.example.com")).status == 200
        assert (await node.get("/", "Host: other.example:1", "Origin: http://other.example:1")).status == 200
        assert (await node.get("/", "Origin: http://localhost:5173")).status == 403

    async def test_a_preflight_is_answered_at_the_door(self, gate: OpenGate) -> None:
        node = await gate(allowed_origins=["https://app.example.com"])
        wanted = "authorization, content-type, mcp-protocol-version, mcp-param-city, last-event-id"

        answer = await node.get(
            "/mcp",
            "Origin: https://app.example.com",
            "Access-Control-Request-Method: POST",
            f"Access-Control-Request-Headers: {wanted}",
            method="OPTIONS",
        )

        assert answer.status == 204
        assert answer.headers["access-control-allow-headers"] == "Authorization, *"
        assert "DELETE" in answer.headers["access-control-allow-methods"]
        assert answer.headers["vary"] == "Origin"
        assert node.app.requests == []

    async def test_a_foreign_preflight_is_refused(self, gate: OpenGate) -> None:
        answer = await (await gate()).get(
            "/mcp", "Origin: http://evil.example", "Access-Control-Request-Method: POST", method="OPTIONS"
        )

        assert answer.status == 403

    async def test_a_refusal_is_readable_by_an_allowed_page(self, gate: OpenGate) -> None:
        answer = await (await gate()).get("/", "Origin: http://localhost:1", "Content-Length: 99999999", method="POST")

        assert answer.status == 413
        assert answer.headers["access-control-allow-origin"] == "http://localhost:1"
