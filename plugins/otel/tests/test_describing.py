"""What spans say of what they are of."""

from __future__ import annotations

from time import monotonic, time_ns
from typing import cast

from toolway.hookspecs.auth import Principal
from toolway.hookspecs.routing import Call, ClientProfile, Peer, Reply, Target
from toolway_otel.attributes import spans_of
from toolway_otel.conversion import SEPARATOR, redacted
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


def test_texts_of_other_spans_stay_where_they_are_whatever_a_client_calls_itself() -> None:
    def swallows(text: str, key: str | None = None) -> str:
        """As a redactor does with a name whose value would follow."""
        return text.replace(f"authorization:{SEPARATOR}", "authorization:[redacted]", 1)

    texts = ["authorization:", "user:alice", f"x{SEPARATOR}y", "user:bob"]

    assert redacted(texts, swallows) == {each: each for each in texts}
    assert redacted(texts[:2], swallows) == {each: each for each in texts[:2]}
    assert redacted(texts[1:], swallows) == {each: each for each in texts[1:]}
