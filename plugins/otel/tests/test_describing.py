"""What spans say of what they are of."""

from __future__ import annotations

from time import monotonic, time_ns
from typing import cast

from toolway.hookspecs.auth import Principal
from toolway.hookspecs.routing import Call, ClientProfile, Peer, Reply, Target
from toolway_otel.attributes import spans_of
from toolway_otel.trace import Trace


def test_a_call_that_no_upstream_answered_says_who_did() -> None:
    client, nobody = ClientProfile("2026-07-28"), cast("Peer", None)
    call = Call("tools/call", {}, {}, "all", Principal("user:alice"), client, nobody, 0.0, target=Target("up", "echo"))
    call.answered_by = "cache"
    call.reply, call.ended, call.seconds = Reply(), monotonic(), 0.25
    trace = Trace("a" * 32, "b" * 16, is_sampled=True)

    [span] = spans_of(trace, [call])

    assert span.attributes["toolway.answered_by"] == "cache"
    assert span.parent == trace.root
    assert span.end - span.start == 250_000_000
    assert abs(span.end - time_ns()) < 10 * 10**9
