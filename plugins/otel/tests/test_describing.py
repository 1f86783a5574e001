"""What spans say of what they are of."""

from __future__ import annotations

from typing import cast

from toolway.hookspecs.auth import Principal
from toolway.hookspecs.routing import Call, ClientProfile, Peer, Reply, Target
from toolway_otel.attributes import spans_of
from toolway_otel.trace import Ended, begin


def test_a_call_that_no_upstream_answered_says_who_did() -> None:
    client, nobody = ClientProfile("2026-07-28"), cast("Peer", None)
    call = Call("tools/call", {}, {}, "all", Principal("user:alice"), client, nobody, 0.0, target=Target("up", "echo"))
    call.answered_by = "cache"
    trace = begin(None, {}, 1.0)
    trace.ended.append(Ended(call, trace.start + 1, trace.start + 2, Reply()))

    [span] = spans_of(trace)

    assert span.attributes["toolway.answered_by"] == "cache"
    assert (span.parent, span.start) == (trace.root, trace.start + 1)
