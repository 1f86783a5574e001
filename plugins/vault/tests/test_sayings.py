"""What came from Vault is not told, however it is quoted."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from toolway_vault.sayings import REDACTED, REMEMBERED, Unsaid

SECRET = 'it\'s "one" \\ é of Vault'


@pytest.mark.parametrize(
    "quoted",
    [str, repr, json.dumps, lambda text: repr(text.encode()), lambda text: json.dumps(repr({"password": text}))],
)
def test_a_value_is_found_however_it_is_quoted(quoted: Callable[[str], str]) -> None:
    unsaid = Unsaid()
    unsaid.add(SECRET, "short")

    told = unsaid.redact(f"short {quoted(SECRET)}")

    assert REDACTED in told and told.startswith("short ")
    assert "of Vault" not in told


def test_the_last_values_are_remembered() -> None:
    unsaid = Unsaid()
    for number in range(REMEMBERED + 1):
        unsaid.add(f"value-{number:06}")

    assert unsaid.redact("value-000000 value-000001") == f"value-000000 {REDACTED}"
