"""Forged and malformed tokens: all are refused with one sentence, unless they do not even say that they are ours."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest
import pytest_asyncio
from token_node import Node

from toolway.plugin import Unauthenticated
from toolway_tokens.keys import SigningKey, generated
from toolway_tokens.signatures import signed

Forge = Callable[..., str]


def encoded(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Forger:
    """Somebody who can even sign with the gateway's key."""

    def __init__(self, node: Node, key: SigningKey, value: str) -> None:
        self.node, self.key, self.value = node, key, value
        self.segments = value.split(".")
        self.header, self.claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in value.split(".")[:2])

    def signed(self, header: dict[str, Any] | None = None, key: SigningKey | None = None, **claims: Any) -> str:
        """A token with these claims; those that are None are left out."""
        said = {name: value for name, value in {**self.claims, **claims}.items() if value is not None}
        return signed(key or self.key, header or {"typ": "at+jwt"}, json.dumps(said).encode())

    def with_header(self, **changed: Any) -> str:
        """The good token under another header, which its signature is not of."""
        header = {name: value for name, value in {**self.header, **changed}.items() if value is not None}
        return ".".join([encoded(header), *self.segments[1:]])


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


@pytest_asyncio.fixture
async def forger(node: Node) -> Forger:
    _, value = await node.make(subject="user:alice", ttl="1h", scopes=["tools:call:a/*"])
    async with node.database.write() as tx:
        key = await node.parts.keys.signing(tx)
    return Forger(node, key, value)


async def refused(node: Node, value: str) -> None:
    with pytest.raises(Unauthenticated, match="the token is not valid here"):
        await node.ask(value)


async def test_a_token_signed_again_as_it_is_is_accepted(forger: Forger) -> None:
    assert await forger.node.ask(forger.signed()) is not None


@pytest.mark.parametrize(
    "claims",
    [
        *({"exp": value} for value in (None, "9999999999", True, 0, -1, 1e300, [1], 999_940)),
        *({"iat": value} for value in (None, "1", 1_000_061)),
        *({"nbf": value} for value in (None, "1", 1_000_061)),
        *({"sub": value} for value in (None, "", 7, "user:root", "user:alice\0", "x" * 200)),
        *({"jti": value} for value in (None, "", 7, "0123456789abcdef", "' or 1=1 --", "../x", "x" * 200)),
        *({"iss": "https://gate.example", "aud": value} for value in (None, "", "other", ["https://gate.example"])),
        *({"scope": value} for value in (None, "", "admin:*", 7, ["tools:call:a/*"], " ".join(["a:b:c"] * 101))),
    ],
    ids=str,
)
async def test_claims_must_be_complete_right_and_those_of_the_catalog(forger: Forger, claims: dict[str, Any]) -> None:
    await refused(forger.node, forger.signed(**claims))


@pytest.mark.parametrize("typ", [None, "JWT", "at+JWT", "application/at+jwt", 7])
async def test_the_type_must_be_that_of_access_tokens(forger: Forger, typ: Any) -> None:
    header = {} if typ is None else {"typ": typ}
    value = forger.signed({"cty": "x", **header}) if typ != 7 else forger.with_header(typ=7)
    await refused(forger.node, value)


@pytest.mark.parametrize(
    "changed",
    [
        *(
            {"alg": alg}
            for alg in ("none", "None", "nOnE", "", None, "HS256", "RS256", "ES384", "Ed25519", 7, ["ES256"])
        ),
        *(
            {"kid": kid}
            for kid in (None, "", "unknown", "../../dev/null", "' or 1=1 --", "x" * 129, 7, ["a"], {"a": 1})
        ),
        {"crit": ["b64"], "b64": False},
        {"b64": False},
        {"crit": ["exp"]},
        {"crit": []},
        {"zip": "DEF"},
    ],
    ids=str,
)
async def test_a_changed_header_is_refused(forger: Forger, changed: dict[str, Any]) -> None:
    await refused(forger.node, forger.with_header(**changed))


@pytest.mark.parametrize("changed", [{"crit": ["jku"], "jku": "https://evil.example"}, {"b64": True, "crit": ["b64"]}])
async def test_what_must_be_understood_is_not_even_from_ourselves(forger: Forger, changed: dict[str, Any]) -> None:
    await refused(forger.node, forger.signed({"typ": "at+jwt", **changed}))


async def test_keys_in_the_header_are_ignored(forger: Forger) -> None:
    own = generated("ES256")
    header = {"typ": "at+jwt", "jwk": own.public, "jku": "https://evil.example/keys", "x5u": "https://evil.example/x"}

    assert await forger.node.ask(forger.signed(header)) is not None
    mine = SigningKey(forger.key.kid, "ES256", own.key)
    await refused(forger.node, forger.signed(header, key=mine))


async def test_a_public_key_is_no_shared_secret(forger: Forger) -> None:
    public = forger.key.key.as_pem(private=False)
    head = encoded({**forger.header, "alg": "HS256"})
    body = f"{head}.{forger.segments[1]}"
    mac = hmac.new(public, body.encode(), hashlib.sha256).digest()

    await refused(forger.node, f"{body}.{encoded(mac)}")


@pytest.mark.parametrize(
    "damage",
    [
        lambda value: value + "A",
        lambda value: value + "=",
        lambda value: value[:-1],
        lambda value: value[:-4] + ("AAAA" if value[-4:] != "AAAA" else "BBBB"),
        lambda value: value.rpartition(".")[0] + ".",
        lambda value: value + "\n",
        lambda value: value.replace(".", "=.", 1),
        lambda value: value + "A" * 8192,
    ],
)
async def test_a_damaged_token_is_refused(forger: Forger, damage: Callable[[str], str]) -> None:
    await refused(forger.node, damage(forger.value))


async def test_names_twice_are_refused(forger: Forger) -> None:
    claims = json.dumps(forger.claims)[:-1] + ', "sub": "user:alice"}'
    await refused(forger.node, signed(forger.key, {"typ": "at+jwt"}, claims.encode()))
    header = json.dumps(forger.header)[:-1] + ', "alg": "ES256"}'
    await refused(forger.node, ".".join([encoded(header.encode()), *forger.segments[1:]]))


@pytest.mark.parametrize("value", ["a.b", "a.b.c.d.e", "twa_x", "a.b.c", "..", "", "\0.\0.\0"])
async def test_what_does_not_say_that_it_is_ours_is_left_to_others(forger: Forger, value: str) -> None:
    assert await forger.node.ask(value) is None


async def test_a_token_of_another_issuer_and_key_is_left_to_others(forger: Forger) -> None:
    value = forger.signed(key=generated("ES256"), iss="https://idp.example")

    assert await forger.node.ask(value) is None


async def test_a_token_of_another_issuer_with_our_key_is_refused(forger: Forger) -> None:
    await refused(forger.node, forger.signed(iss="https://idp.example"))
