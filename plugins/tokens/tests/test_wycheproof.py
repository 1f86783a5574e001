"""The JOSE vectors of Project Wycheproof against what production verifies with."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from toolway_tokens.keys import UnusableKey, key_set
from toolway_tokens.signatures import BadSignature, verified

DATA = Path(__file__).parent / "data" / "wycheproof_jose"
SUPPORTED = {"ES256", "RS256", "Ed25519"}


def vectors(name: str) -> Iterator[Any]:
    """One parameter per vector: the public keys, the token and whether it is good."""
    groups = json.loads((DATA / f"json_web_{name}_test.json").read_text(encoding="utf-8"))["testGroups"]
    for group in groups:
        found = group.get("public") or group["private"]
        keys = found.get("keys", [found])
        for test in group["tests"]:
            token = test.get("jws", test.get("jwe"))
            yield pytest.param(keys, token, test["result"] == "valid", id=f"{name}-{test['tcId']}-{test['comment']}")


def is_accepted(keys: list[dict[str, Any]], token: Any) -> bool:
    try:
        verified(token if isinstance(token, str) else json.dumps(token), key_set(keys))
    except (BadSignature, UnusableKey):
        return False
    return True


def is_supported(keys: list[dict[str, Any]], token: str) -> bool:
    return {key.get("alg") for key in keys} <= SUPPORTED


@pytest.mark.parametrize(("keys", "token", "is_good"), [*vectors("signature"), *vectors("key"), *vectors("crypto")])
def test_signatures(keys: list[dict[str, Any]], token: Any, is_good: bool) -> None:
    assert is_accepted(keys, token) == (is_good and is_supported(keys, token))


@pytest.mark.parametrize(("keys", "token", "is_good"), [*vectors("encryption")])
def test_an_encrypted_token_is_never_accepted(keys: list[dict[str, Any]], token: Any, is_good: bool) -> None:
    assert not is_accepted(keys, token)
