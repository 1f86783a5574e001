"""What spans say of what they are of."""

from __future__ import annotations

from typing import Any, cast

from toolway.hookspecs.auth import Principal
from toolway.hookspecs.routing import Call, ClientProfile, Peer, Reply, Target
from toolway_otel.attributes import described
from toolway_otel.trace import span


def test_a_call_that_no_upstream_answered_says_who_did() -> None:
    client, nobody = ClientProfile("2026-07-28"), cast("Peer", None)
    call = Call("tools/call", {}, {}, "all", Principal("user:alice"), client, nobody, 0.0, target=Target("up", "echo"))
    call.answered_by = "cache"
    told: Any = span("server", None)
    told.of = call, Reply()

    assert described(told).attributes["toolway.answered_by"] == "cache"
