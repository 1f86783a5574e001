"""Secret references: resolved once, followed when they rotate, and never shown."""

import asyncio
import io
import json
import logging
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import cast

import pytest
from hypothesis import given, settings, strategies as st

from toolway.bundled.defaults.references import FILE_SECONDS, EnvironmentScheme, FileScheme, LiteralScheme
from toolway.bundled.upstreams.auth import BasicAuth, BasicProvider
from toolway.errors import SecretUnavailable
from toolway.hookspecs.auth import GATEWAY
from toolway.hookspecs.definitions import UpstreamSettings
from toolway.hookspecs.routing import Upstream
from toolway.hookspecs.secrets import Secret
from toolway.redaction import REDACTED, RedactingFormatter, Redaction, redact
from toolway.secrets import SecretResolver
from toolway_testing.clock import MovedClock


class Vault:
    """A scheme that counts how often it is asked, and answers when the test lets it."""

    scheme = "vault"

    def __init__(self, clock: MovedClock) -> None:
        self.clock = clock
        self.asked = 0
        self.open = asyncio.Event()
        self.open.set()
        self.is_sealed = False

    async def resolve(self, reference: str) -> Secret:
        self.asked += 1
        await self.open.wait()
        if self.is_sealed:
            raise SecretUnavailable("the vault is sealed")
        return Secret(f"{reference}-{self.asked}", refresh_at=self.clock.time + 10)


@pytest.fixture
def vault(clock: MovedClock) -> Vault:
    return Vault(clock)


@pytest.fixture
def secrets(clock: MovedClock, vault: Vault) -> SecretResolver:
    resolver = SecretResolver(clock)
    resolver.use([EnvironmentScheme({"TOKEN": "from-env", "EMPTY": ""}), FileScheme(clock), LiteralScheme(), vault])
    return resolver


async def test_each_scheme_resolves_what_follows_the_first_colon(secrets: SecretResolver, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from:file\n")
    assert await secrets.get("env:TOKEN") == "from-env"
    assert await secrets.get("env:EMPTY") == ""
    assert await secrets.get(f"file:{tmp_path / 'key'}") == "from:file"
    assert await secrets.get("literal:a:b") == "a:b"


async def test_a_secret_is_asked_for_once_and_again_when_it_wants_to_be_refreshed(
    secrets: SecretResolver, vault: Vault, clock: MovedClock
) -> None:
    assert [await secrets.get("vault:k"), await secrets.get("vault:k")] == ["k-1", "k-1"]
    clock.time += 10
    assert await secrets.get("vault:k") == "k-2"


async def test_many_who_ask_at_once_ask_the_source_once(secrets: SecretResolver, vault: Vault) -> None:
    vault.open.clear()
    tasks = [asyncio.create_task(secrets.get("vault:k")) for _ in range(20)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    vault.open.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == ["k-1"] * 19


async def test_many_who_ask_at_once_fail_together_and_the_next_one_asks_anew(
    secrets: SecretResolver, vault: Vault
) -> None:
    vault.is_sealed = True
    results = await asyncio.gather(*(secrets.get("vault:k") for _ in range(20)), return_exceptions=True)
    assert {type(result) for result in results} == {SecretUnavailable}
    assert vault.asked == 1
    vault.is_sealed = False
    assert await secrets.get("vault:k") == "k-2"


async def test_there_is_no_fallback_to_an_old_value(secrets: SecretResolver, vault: Vault, clock: MovedClock) -> None:
    await secrets.get("vault:k")
    clock.time += 10
    vault.is_sealed = True
    with pytest.raises(SecretUnavailable, match="the vault is sealed"):
        await secrets.get("vault:k")


async def test_a_file_that_changes_is_followed(secrets: SecretResolver, clock: MovedClock, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("old")
    assert await secrets.get(f"file:{path}") == "old"
    path.write_text("new")
    clock.time += FILE_SECONDS
    assert await secrets.get(f"file:{path}") == "new"


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("env:NOWHERE", "environment variable NOWHERE is not set"),
        ("file:/nowhere/key", "secret file /nowhere/key cannot be read: No such file or directory"),
        ("file:relative", "secret file relative cannot be read"),
        ("vaut:x", "secret scheme 'vaut' is not known; known: env, file, literal, vault"),
    ],
)
async def test_a_reference_that_leads_nowhere_says_why(secrets: SecretResolver, reference: str, sentence: str) -> None:
    with pytest.raises(SecretUnavailable, match=sentence):
        await secrets.get(reference)


async def test_a_file_that_is_not_text_is_refused(secrets: SecretResolver, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\xff")
    with pytest.raises(SecretUnavailable, match="not UTF-8"):
        await secrets.get(f"file:{tmp_path / 'key'}")


async def test_old_and_new_values_are_known_and_the_repr_of_a_secret_hides_it(
    secrets: SecretResolver, vault: Vault, clock: MovedClock
) -> None:
    await secrets.get("vault:k")
    clock.time += 10
    await secrets.get("vault:k")
    assert set(secrets.known()) == {"k-1", "k-2"}
    assert "k-1" not in repr(Secret("k-1"))


def logged(secrets: SecretResolver, write: Callable[[logging.Logger], None]) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(RedactingFormatter(logging.Formatter("%(message)s"), Redaction(secrets.known)))
    logger = logging.getLogger("test.redaction")
    logger.addHandler(handler)
    logger.propagate = False
    try:
        write(logger)
    finally:
        logger.propagate = True
        logger.removeHandler(handler)
    return stream.getvalue()


async def test_no_log_line_holds_a_secret_in_message_arguments_or_traceback(secrets: SecretResolver) -> None:
    value = await secrets.get("literal:hunter2-hunter2")

    def write(logger: logging.Logger) -> None:
        logger.warning("a %s b %r", value, {"token": value})
        try:
            raise ValueError(f"bad {value}")
        except ValueError:
            logger.exception("failed with %s", value)

    output = logged(secrets, write)
    assert value not in output
    assert output.count(REDACTED) == 4
    assert "ValueError: bad" in output


def test_secrets_are_found_in_their_quoted_forms_and_longer_ones_first() -> None:
    secrets = ("a\nb\"c'ä\\", "secret", "secret-longer")
    line = redact(f"{secrets[0]!r} {secrets[2]} x", frozenset(secrets))
    assert line == f"'{REDACTED}' {REDACTED} x"


@pytest.mark.parametrize(
    "quoted",
    [
        repr,
        lambda secret: repr(f'"{secret}'),
        lambda secret: repr({"x": [secret]}),
        lambda secret: repr(secret.encode()),
        json.dumps,
        lambda secret: json.dumps(repr(secret)),
        lambda secret: json.dumps({"exception": repr(("it's", secret))}, ensure_ascii=False),
        lambda secret: json.dumps(json.dumps([secret])),
        lambda secret: json.dumps(json.dumps([secret]), ensure_ascii=False),
        lambda secret: repr(KeyError(secret)),
        lambda secret: repr(OSError(5, json.dumps(secret))),
        lambda secret: json.dumps(repr([repr(secret.encode())])),
        lambda secret: repr(ExceptionGroup("several", [ValueError(f'"{json.dumps(secret)}')])),
        lambda secret: str(ExceptionGroup(secret, [ValueError()])),
    ],
)
@settings(max_examples=30)
@given(st.text(min_size=8, alphabet=st.sampled_from("abcdefgh'\"\\\n é漢/%")))
def test_a_secret_is_found_however_it_is_quoted(quoted: Callable[[str], str], secret: str) -> None:
    text = quoted(secret)

    told = redact(text, frozenset({secret}))

    assert secret not in told
    assert REDACTED in told


async def test_a_line_that_cannot_be_made_says_nothing_of_what_was_to_be_logged(secrets: SecretResolver) -> None:
    value = await secrets.get("literal:hunter2-hunter2")

    class Unsayable(Exception):
        def __str__(self) -> str:
            raise RuntimeError(value)

    output = logged(secrets, lambda logger: logger.warning("%d of %s", Unsayable(value), value))
    output += logged(secrets, lambda logger: logger.warning("%s", Unsayable(value)))
    output += logged(secrets, lambda logger: logger.warning("%s%s", value[:5], value[5:]))

    assert value[:5] not in output
    assert output.splitlines() == [
        "[redacted: a line of test.redaction failed with TypeError]",
        "[redacted: a line of test.redaction failed with RuntimeError]",
        REDACTED,
    ]


def test_of_thousands_those_are_found_that_are_there_in_little_time(secrets: SecretResolver) -> None:
    secrets.know(*(f"{number:05d}-of-many" for number in range(4_000)))
    hide, line = Redaction(secrets.known), "x" * 400

    assert hide(f"a 03999-of-many b '02500-of-many' {line}") == f"a {REDACTED} b '{REDACTED}' {line}"
    assert hide("the 00001-of-many is forgotten") == "the 00001-of-many is forgotten"
    began = process_time()
    for _ in range(100):
        hide(line)
    assert process_time() - began < 0.1, "looking for each of them would take a second"


async def test_what_is_in_force_is_never_forgotten(secrets: SecretResolver) -> None:
    value = await secrets.get("literal:hunter2-hunter2")
    secrets.know(*map(str, range(1_000_000, 1_004_000)))

    assert value in secrets.known()


async def test_the_value_of_a_basic_header_is_known_too(secrets: SecretResolver) -> None:
    auth = BasicAuth(username="u", password="literal:hunter2-hunter2")
    upstream = Upstream("a", "http", cast("UpstreamSettings", None), (), auth)

    headers = await BasicProvider(secrets).headers(upstream, GATEWAY, None)

    assert Redaction(secrets.known)(f"refused {headers['authorization']}") == f"refused Basic {REDACTED}"


def test_short_values_are_left_alone() -> None:
    assert redact("a yes and a no", frozenset({"no", "", "yes"})) == "a yes and a no"


async def test_whether_a_secret_was_read_is_told_by_scheme(secrets: SecretResolver, vault: Vault) -> None:
    told: list[tuple[str, str]] = []
    secrets.told = lambda scheme, outcome: told.append((scheme, outcome))
    for _ in range(3):
        await secrets.get("literal:a")
    vault.is_sealed = True
    with pytest.raises(SecretUnavailable):
        await secrets.get("vault:path")

    assert told == [("literal", "ok"), ("vault", "failed")]
