"""What is removed from texts, and what is left alone."""

from __future__ import annotations

import ast
import base64
import json
import re
import string
import time
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings, strategies as st

from toolway.hookspecs.telemetry import SERVED, Served
from toolway.plugin import ConfigError
from toolway_masking.cards import is_card
from toolway_masking.masker import Masker
from toolway_masking.values import REDACTED

MASKER = Masker()
TAIL = "0a1B2c3D4e5F6a7B8c9D0e1F2a3B4c5D6e7F8a9B0c1D2e3F4"
HEX = TAIL.lower().replace("g", "a")
SECRETS = {
    "admin token": f"twa_{TAIL}",
    "session": f"tws_{TAIL}",
    "server key": f"twk_0123456789abcdef_{TAIL}",
    "JWT": f"eyJhbGciOiJFUzI1NiJ9.eyJ{TAIL}.{TAIL}",
    "JWE": f"eyJhbGciOiJkaXIifQ..{TAIL}.{TAIL}.{TAIL[:22]}",
    "AWS": "AKIA" + TAIL[:16].upper(),
    "Google": f"AIza{TAIL[:35]}",
    "Google OAuth": f"ya29.{TAIL}",
    "Entra": f"a1b8Q~{TAIL[:34]}",
    "GitHub": f"ghp_{TAIL[:36]}",
    "GitHub, fine": f"github_pat_{TAIL}",
    "GitLab": f"glpat-{TAIL[:20]}",
    "Atlassian": f"ATATT3{TAIL}",
    "npm": f"npm_{TAIL[:36]}",
    "PyPI": f"pypi-{TAIL}",
    "Docker": f"dckr_pat_{TAIL[:27]}",
    "Slack": f"xoxb-123456789012-{TAIL[:24]}",
    "Slack hook": f"hooks.slack.com/services/T0001/B0001/{TAIL[:24]}",
    "Stripe": f"sk_live_{TAIL[:24]}",
    "OpenAI": f"sk-proj-{TAIL}",
    "Anthropic": f"sk-ant-api03-{TAIL}",
    "Hugging Face": f"hf_{TAIL[:34]}",
    "SendGrid": f"SG.{TAIL[:22]}.{TAIL[:43]}",
    "DigitalOcean": f"dop_v1_{HEX[:40]}",
    "Vault": f"hvs.{TAIL}",
    "Telegram": f"123456789:AA{TAIL[:33]}",
    "card": "4111 1111 1111 1111",
    "card of 15 digits": "378282246310005",
    "PEM": "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,77\n\n"
    f"{TAIL}\n{TAIL}=\n-----END EC PRIVATE KEY-----",
    "half a PEM": f"-----BEGIN PRIVATE KEY-----\n{TAIL}",
}
PLANTED = pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS.keys())


def body(secret: str) -> str:
    """What of it must not be left."""
    return secret.split("\n")[-2] if "END" in secret else secret[-12:]


@PLANTED
@pytest.mark.parametrize("around", ["{}", "it was {}", "({})", "x='{}', y=1", "line\n{}\nline", "a={}&b=1", '"{}"'])
def test_secrets_are_known_by_their_form(secret: str, around: str) -> None:
    text = around.format(secret)

    for each in (text, json.dumps({"event": text}), json.dumps({"event": json.dumps([text])}), repr(text)):
        told = MASKER.redact(each)
        assert body(secret) not in told
        assert REDACTED in told
        assert MASKER.redact(told) == told, "once is enough"


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-28T04:30:00.123456Z GET /mcp 200 0.00213",
        "019e1b2c-7a1b-7c3d-9e4f-0123456789ab 4bf92f3577b34da6a3ce929d0e0e4736 00f067aa0ba902b7",
        "0.4111111111111111 4111111111111112 x4111111111111111 20261128043000123456",
        "max_tokens=100 prompt_tokens: 53 tokens: [1, 2]",
        "Basic authentication and Bearer tokens are understood; ask-somebody-who-knows-about-task-lists",
        "send 'Authorization: <scheme> <credential>'",
        "password: env:BILLING_PASSWORD, token = file:/run/secrets/token",
        '{"token": null, "password": true, "secret": ""}',
        "https://example.com:8080/a@b ssh://git@example.com/x mailto:me@example.com",
        "the root key does not open this database's key ring",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "ünïcode 漢字 \x00 \x1b[31m",
    ],
)
def test_what_is_no_secret_is_left_alone(text: str) -> None:
    assert MASKER.redact(text) == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Authorization: Bearer abc.def-1", "Authorization: [redacted]"),
        ("Proxy-Authorization: Negotiate YII= x", "Proxy-Authorization: [redacted]"),
        ("sent Bearer abcdefgh1 to it", "sent Bearer [redacted] to it"),
        ("basic dXNlcjpwYXNz", "basic [redacted]"),
        ("Cookie: a=b; c=d\nHost: x", "Cookie: [redacted]\nHost: x"),
        ("password=hunter2, user=x", "password=[redacted] user=x"),
        ("X-API-Key: abc", "X-API-Key: [redacted]"),
        ("GET /a?access_token=abc&b=1&sig=x%2Fy", "GET /a?access_token=[redacted]&b=1&sig=[redacted]"),
        ("postgresql://toolway:p@ss@db:5432/x", "postgresql://[redacted]@db:5432/x"),
        ("{'password': 'it\\'s', 'x': 1}", "{'password': '[redacted]', 'x': 1}"),
        ("('authorization', 'Bearer x')", "('authorization', '[redacted]')"),
        ("[(b'authorization', b'abc')]", "[(b'authorization', b'[redacted]')]"),
        ('{"api_key": ["a","b"], "q": 1}', '{"api_key": ["[redacted]","[redacted]"], "q": 1}'),
        ('{"password": 1234}', '{"password": "[redacted]"}'),
        ('client_secret = "x', 'client_secret = "[redacted]'),
        ("dbPassword: abc", "dbPassword: [redacted]"),
    ],
)
def test_values_of_secret_names_are_removed(text: str, told: str) -> None:
    assert MASKER.redact(text) == told
    assert MASKER.redact(told) == told


CARDS = ("4111111111111111", "4111 1111 1111 1111", "378282246310005", "3782 822463 10005", "6304 0000 0000 0000 018")


@pytest.mark.parametrize("card", [*CARDS, "4111-1111-1111-1111", "41 11 11 11 11 11 11 11"])
def test_a_card_is_found_whatever_it_is_grouped_by(card: str) -> None:
    assert MASKER.redact(f"card={card};") == "card=[redacted];"


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize(
    "around", ["{} 123", "0 {}", "2026 {} 12", "{card} {}", "1234 5678 {} {card} 5105105105105100"]
)
def test_a_card_is_found_among_other_numbers(card: str, around: str) -> None:
    told = MASKER.redact(around.format(card, card=card))

    assert card not in told
    assert told.replace(REDACTED, "").replace(" ", "").isdigit() or not told.replace(REDACTED, "").strip()


def test_a_value_is_removed_when_its_field_has_a_secret_name() -> None:
    assert MASKER.redact("hunter2", "password") == REDACTED
    assert MASKER.redact("hunter2", "X-Auth-Token") == REDACTED
    assert MASKER.redact("hunter2", "user") == "hunter2"
    assert MASKER.redact("", "password") == ""


REFERENCES = (
    "sealed:hidden",
    "env:BILLING_TOKEN",
    "file:/run/secrets/bill-token.txt",
    "vault:kv/toolway/issues#token",
    "vault:database/creds/role#{username} {password}",
    "vault:kv/db#{user}:{password:url}",
    "vault:kv/db#postgresql+psycopg://{user}:{password:url}@db/toolway",
    "aws-secrets:arn:aws:secretsmanager:eu-central-1:12345678:secret:billing-a1b2c3#token",
)


@pytest.mark.parametrize("reference", REFERENCES)
def test_a_reference_is_kept_in_a_field_with_a_secret_name(reference: str) -> None:
    assert MASKER.redact(reference, "token") == reference
    assert MASKER.redact(reference) == reference


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("file://alice:hunter2@nas.example.com/share", "file://[redacted]@nas.example.com/share"),
        ("vault://svc:s3cretPW@vault.example.com/x", "vault://[redacted]@vault.example.com/x"),
        ("file:4111111111111111", "file:[redacted]"),
        ("env:presented-credential", "env:[redacted]"),
    ],
)
def test_what_has_the_form_of_a_reference_may_have_a_secret_in_it(text: str, told: str) -> None:
    masker = Masker()
    masker.presented.values = lambda: ("presented-credential",)  # type: ignore[method-assign]

    assert masker.redact(text) == told


@pytest.mark.parametrize("reference", [each for each in REFERENCES if "://" not in each])
def test_a_reference_is_kept_in_a_document(reference: str) -> None:
    document = json.dumps({"auth": {"token": reference}, "headers": {"X-Api-Key": reference}})

    assert MASKER.redact(document) == document


@pytest.mark.parametrize(
    "value",
    [
        *("s3cr3t-token-value", "literal:hunter2", "sealed:billing:AAECAwQFBgc", "sealed:hidden2", "user:pass", "env:"),
        *("env:X hunter2", f"env:{SECRETS['GitHub']}", f"vault:kv/x#{{field}} {SECRETS['GitHub']}"),
    ],
)
def test_what_only_looks_like_a_reference_is_removed_in_a_field_with_a_secret_name(value: str) -> None:
    assert MASKER.redact(value, "token") == REDACTED
    assert json.loads(MASKER.redact(json.dumps({"token": value})))["token"].endswith(REDACTED)


def test_email_addresses_are_removed_when_wanted() -> None:
    text = "asked by alice.b+c@mail.example.org."

    assert MASKER.redact(text) == text
    assert Masker(with_emails=True).redact(text) == "asked by [redacted]."


def test_own_patterns_and_names_are_used() -> None:
    masker = Masker({"employee": r"\bE-[0-9]{6}\b"}, ["pin.code"])

    assert masker.redact("E-123456 has pin.code=77, pinxcode=77") == "[redacted] has pin.code=[redacted] pinxcode=77"


@pytest.mark.parametrize(
    ("expression", "what"),
    [
        (r"(?<=x)y", "no expression of RE2"),
        (r"(a)\1", "no expression of RE2"),
        (r"(", "no expression of RE2"),
        (r"x*", "matches an empty text"),
        (r"red[a-z]+", "matches an empty text or [redacted]"),
        ("x" * 1_001, "1000 are the most"),
    ],
)
def test_patterns_that_cannot_be_used_are_refused(expression: str, what: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Masker({"mine": expression})

    assert what in refused.value.message
    assert "plugins.masking.patterns.mine" in refused.value.message


@pytest.mark.parametrize(
    "encoded",
    [
        lambda secret: base64.b64encode(f"user:{secret}".encode()).decode(),
        lambda secret: base64.urlsafe_b64encode(f"so?>ü{secret}".encode()).decode().rstrip("="),
        lambda secret: base64.b64encode(base64.b64encode(secret.encode())).decode(),
        lambda secret: quote(secret, safe=""),
        lambda secret: re.sub("%..", lambda found: found[0].lower(), quote(secret, safe="")),
        lambda secret: quote(quote(secret, safe=""), safe=""),
        lambda secret: quote(secret, safe="!'()*"),
        quote_plus,
        lambda secret: "".join(f"%{byte:02X}" for byte in secret.encode()),
        lambda secret: quote(base64.b64encode(f":{secret}".encode()).decode(), safe=""),
    ],
)
@pytest.mark.parametrize("around", ["{}", "sent {} to it", '{{"event": "x {}"}}'])
def test_what_others_know_is_removed_in_what_is_encoded(encoded: Callable[[str], str], around: str) -> None:
    secret = 'it\'s a "plain" one, + 100% é'
    masker = Masker(redact=lambda text: masker.redact(text.replace(secret, REDACTED)))

    told = masker.redact(around.format(encoded(secret)))

    assert told == around.format(REDACTED)
    assert masker.redact(told) == told


def test_what_says_nothing_secret_stays_encoded() -> None:
    harmless = base64.b64encode(b"nothing that anybody has to know").decode()

    assert MASKER.redact(f"a%20b {harmless} {quote('/é')} 100%") == f"a%20b {harmless} {quote('/é')} 100%"
    assert MASKER.redact(base64.b64encode(SECRETS["GitHub"].encode()).decode()) == REDACTED


def served(headers: dict[str, str], query: str = "") -> Served:
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    return Served({"headers": pairs, "query_string": query.encode()}, [])


@pytest.mark.parametrize(
    ("headers", "query", "secret"),
    [
        ({"authorization": "Bearer odd one"}, "", "odd one"),
        ({"x-api-key": 'qu"ote'}, "", 'qu"ote'),
        ({"cookie": "a=first1; b=second"}, "", "second"),
        ({"authorization": "Basic " + base64.b64encode(b"me:swordfish").decode()}, "", "swordfish"),
        ({"x-corp-token": "plainword"}, "", "plainword"),
        ({}, "api_key=a%20plain", "a plain"),
    ],
)
def test_what_the_served_request_presents_is_known_by_its_text(
    headers: dict[str, str], query: str, secret: str
) -> None:
    token = SERVED.set(served(headers, query))
    try:
        assert secret not in MASKER.redact(f"nobody has {secret} here")
        assert json.dumps(secret)[1:-1] not in MASKER.redact(json.dumps({"event": f"nobody has {secret} here"}))
    finally:
        SERVED.reset(token)
    assert secret in MASKER.redact(f"nobody has {secret} here"), "of no other request"


@given(st.text(), st.sampled_from(sorted(SECRETS.values())), st.text())
def test_nothing_around_a_secret_saves_it(before: str, secret: str, after: str) -> None:
    told = MASKER.redact(f"{before} {secret} {after}")

    assert secret not in told
    assert MASKER.redact(told) == told


def _names_nothing_secret(value: str) -> bool:
    return not MASKER.is_secret(value.rstrip(string.punctuation + string.whitespace))


NAMES = st.sampled_from(["user", "token", "Set-Cookie"])
PLAIN = st.text(min_size=1).filter(_names_nothing_secret)
"""After `'password', ` comes its value, as in a pair: what follows would be removed."""


@given(PLAIN, st.text(min_size=1, alphabet=st.characters(exclude_categories=["Cs"])), st.integers(0, 4))
def test_a_json_value_is_removed_at_any_depth_and_json_stays_json(user: str, secret: str, depth: int) -> None:
    text = json.dumps({"user": user, "password": f"<{secret}>", "last": 1})
    for _ in range(depth):
        text = json.dumps({"text": text})

    told = json.loads(MASKER.redact(text))

    for _ in range(depth):
        told = json.loads(told["text"])
    assert told["password"] == REDACTED
    assert told["last"] == 1


@given(st.dictionaries(NAMES, PLAIN, min_size=1))
def test_a_python_dictionary_stays_one(fields: dict[str, str]) -> None:
    told = ast.literal_eval(MASKER.redact(repr(fields)))

    assert told.keys() == fields.keys()
    assert {told[name] for name in fields if name != "user"} <= {REDACTED}


@given(st.text(alphabet="pasword=:\"'\\ \n[]{},token-.eyJ4 1/@", max_size=300))
def test_whatever_is_masked_is_masked_for_good(text: str) -> None:
    told = MASKER.redact(text)

    assert MASKER.redact(told) == told


@given(st.lists(st.integers(0, 9), min_size=12, max_size=18))
def test_the_check_digit_decides_about_cards(digits: list[int]) -> None:
    begin = "4" + "".join(str(each) for each in digits[:-1])

    assert sum(is_card(f"{begin}{last}") for last in range(10)) <= 1 + (len(set(begin)) == 1)


HOSTILE = [
    *("%41", "%25", "aGVsbG8gaGVsbG8g", "%61GVs", "bearer%20"),
    *("a", "4", "4 ", "4111111111111111 ", "://", "://x:", "bearer ", "password", "password=x ", "password:'\\"),
    *('password:"', 'password="\\"', "\\", '\\"', "é", "-----BEGIN PRIVATE KEY-----", "eyJaaaaaaa.", "sk-", "a@", "["),
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_time_grows_with_the_length_and_no_faster(piece: str) -> None:
    def seconds(length: int) -> float:
        text, best = (piece * (length // len(piece) + 1))[:length], 60.0
        for _ in range(3):
            began = time.process_time()
            MASKER.redact(text)
            best = min(best, time.process_time() - began)
        return best

    MASKER.redact(piece * 100)
    short = seconds(16_384)
    assert short < 0.25
    assert seconds(131_072) < 0.01 + 8 * short * 3


@settings(max_examples=20)
@given(st.text(max_size=40), st.integers(1, 4))
def test_a_mebibyte_is_done_in_bounded_time(piece: str, stretch: int) -> None:
    text = ((piece or "x") * (1 + (1 << 20) // (stretch * max(1, len(piece)))))[: 1 << 20]
    began = time.process_time()

    MASKER.redact(text)

    assert time.process_time() - began < 4
