"""How keys are written: what scanners find, and what is refused before anybody looks it up."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from toolway_server_keys.notation import (
    ALPHABET,
    CHECKSUM_LENGTH,
    PATTERN,
    SECRET_BITS,
    SECRET_LENGTH,
    Presented,
    base62,
    checksum,
    digest,
    new_id,
    new_secret,
    read,
    written,
)

HOW_TO = Path(__file__).parents[3] / "docs/how-to/server-keys.md"

ids = st.integers(0, 2**64 - 1).map(lambda number: f"{number:016x}")
secrets = st.integers(0, 2**SECRET_BITS - 1).map(lambda number: base62(number, SECRET_LENGTH))
keys = st.builds(written, ids, secrets)


@given(ids, secrets)
def test_what_is_written_is_read(key_id: str, secret: str) -> None:
    assert read(written(key_id, secret)) == Presented(key_id, secret)


@given(keys)
def test_scanners_find_a_key_in_any_text(key: str) -> None:
    assert re.findall(PATTERN, f'curl -H "X-API-Key: {key}" https://gate.example\nkey={key};') == [key, key]


@given(keys, st.data())
def test_a_typing_error_is_noticed(key: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(key) - 1))
    other = data.draw(st.sampled_from(ALPHABET + "_-").filter(lambda each: each != key[at]))

    assert read(key[:at] + other + key[at + 1 :]) is None
    assert read(key[:at] + key[at + 1 :]) is None
    assert read(key[:at] + other + key[at:]) is None


@given(keys, st.integers(4, 62))
def test_two_characters_that_changed_places_are_noticed(key: str, at: int) -> None:
    swapped = key[:at] + key[at + 1] + key[at] + key[at + 2 :]

    assert swapped == key or read(swapped) is None


@given(st.one_of(st.text(), st.text().map("twk_{}".format), keys.map(lambda key: key + "\n")))
def test_no_other_text_is_a_key(text: str) -> None:
    found = read(text)

    assert found is None or written(found.id, found.secret) == text


@given(st.integers(0, 2**SECRET_BITS - 1), st.integers(0, 2**SECRET_BITS - 1))
def test_each_number_has_its_own_digits(one: int, other: int) -> None:
    assert (base62(one, SECRET_LENGTH) == base62(other, SECRET_LENGTH)) == (one == other)


def test_the_checksum_is_crc_32_in_base62() -> None:
    body = "twk_0000000000000000_" + "0" * SECRET_LENGTH

    number = sum(ALPHABET.index(digit) * 62**place for place, digit in enumerate(reversed(checksum(body))))

    assert number == zlib.crc32(body.encode())
    assert 62**CHECKSUM_LENGTH > 2**32 and 62**SECRET_LENGTH > 2**SECRET_BITS > 62 ** (SECRET_LENGTH - 1)


def test_no_two_keys_are_alike() -> None:
    assert len({new_secret() for _ in range(1000)}) == len({new_id() for _ in range(1000)}) == 1000


def test_what_was_presented_does_not_show_its_secret() -> None:
    secret = new_secret()

    assert secret not in repr(Presented("0" * 16, secret))
    assert secret.encode() not in digest(secret)


@pytest.mark.skipif(not HOW_TO.is_file(), reason="the package alone has no documentation")
def test_the_documentation_has_what_scanners_look_for() -> None:
    assert PATTERN in HOW_TO.read_text(encoding="utf-8")
