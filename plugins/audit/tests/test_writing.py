"""Entries have no secrets, are bounded, and are of characters that every database keeps."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, strategies as st

from toolway_audit.record import GENESIS, Link, Record, timestamp
from toolway_audit.writing import LARGEST, LONGEST, Event, Scribe

SCRIBE = Scribe("node", lambda text, key=None: text.replace("hush", "[redacted]"), lambda: ("env", "literal"))


def told(**members: object) -> Event:
    return Event(0.0, "upstreams.put", "upstreams/billing", "ok", "user:alice", **members)  # type: ignore[arg-type]


def test_every_text_is_redacted_also_names_of_members() -> None:
    entry = SCRIBE.entry(told(after={"hush": ["a hush b", 1, None, True]}))

    assert json.loads(entry.after) == {"[redacted]": ["a [redacted] b", 1, None, True]}
    assert SCRIBE.entry(Event(0.0, "tools/call", "a/hush", "ok", "user:hush")).object == "a/[redacted]"


@pytest.mark.parametrize("value", [None, {"a": 1}])
def test_the_kind_of_a_credential_is_not_taken_for_a_field_with_a_secret_value(value: object) -> None:
    scribe = Scribe("node", lambda text, key=None: re.sub(r"token:\w+|hush", "[redacted]", text), lambda: ())

    kept, redacted = (
        scribe.entry(told(credential=each, after=value)) for each in ("token:e5885723cab10bff", "token:hush")
    )

    assert (kept.credential, redacted.credential) == ("token:e5885723cab10bff", "token:[redacted]")


@pytest.mark.parametrize(
    "name", ["password", "client_secret", "API-Key", "accessToken", "Authorization", "private_key"]
)
def test_members_with_names_of_secrets_are_left_out_unless_they_are_references(name: str) -> None:
    given = {name: "sesame", "also": {name: ["env:SESAME", "literal:sesame", "other:sesame"]}}

    entry = SCRIBE.entry(told(before=given))

    assert "sesame" not in entry.before
    assert json.loads(entry.before)["also"][name] == ["env:SESAME", "[left out]", "[left out]"]


def test_what_is_too_large_is_kept_as_its_digest() -> None:
    entry = SCRIBE.entry(told(after={"text": "x" * LARGEST}))

    assert json.loads(entry.after)["size"] > LARGEST
    assert len(SCRIBE.entry(Event(0.0, "tools/call", "x" * 5000, "ok")).object) == LONGEST


@given(st.text(), st.text())
def test_any_text_can_be_kept(name: str, text: str) -> None:
    entry = SCRIBE.entry(Event(0.0, "tools/call", name, "ok", text, address=text, details={name: text}))

    for each in (entry.object, entry.actor, entry.address, entry.details):
        assert "\0" not in each
        each.encode()


@given(
    st.recursive(st.floats() | st.integers() | st.text(st.characters()), lambda one: st.dictionaries(st.text(), one))
)
def test_whatever_is_told_makes_a_record_that_is_intact(value: object) -> None:
    record = Record.of(SCRIBE.entry(told(before=value, details={"\ud800": ["\ud800\0"]})), 1, GENESIS)

    assert record.is_intact()
    link = Link.read(record.line())
    assert link is not None
    assert link.is_intact


def test_times_sort_as_texts() -> None:
    assert timestamp(0) == "1970-01-01T00:00:00.000000Z"
    assert timestamp(1.5) < timestamp(10) < timestamp(1_000_000_000)
