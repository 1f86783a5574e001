"""Encrypted credentials, without a gateway."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from joserfc.jwk import ECKey

from toolway.plugin import InvalidInput
from toolway_transfer.envelope import Envelope, read_key, seal, unseal

PASSPHRASE = "correct horse battery staple"
VALUES = {"upstreams/x": {"digest": "0", "values": {"/auth/token": "the-secret" * 10_000}}}
KEYS = {
    "P-256": ec.generate_private_key(ec.SECP256R1()),
    "X25519": x25519.X25519PrivateKey.generate(),
    "RSA": rsa.generate_private_key(65537, 2048),
}


def pems(key: object) -> tuple[str, str]:
    """The private and the public key."""
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())  # type: ignore[attr-defined]
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    return private.decode(), public.decode()


def test_the_passphrase_and_each_private_key_open_it_and_nothing_else_does() -> None:
    files = {name: pems(key) for name, key in KEYS.items()}

    envelope = seal(VALUES, PASSPHRASE, [read_key(public) for _, public in files.values()])

    envelope = Envelope.model_validate_json(envelope.model_dump_json())
    assert [unseal(envelope, None, read_key(private)) for private, _ in files.values()] == [VALUES] * len(KEYS)
    assert unseal(envelope, PASSPHRASE) == VALUES
    assert "the-secret" not in envelope.model_dump_json()
    stranger = read_key(json.dumps(ECKey.generate_key("P-256").as_dict(private=True)))
    with pytest.raises(InvalidInput, match="not encrypted for this key"):
        unseal(envelope, None, stranger)
    with pytest.raises(InvalidInput, match="do not open"):
        unseal(envelope, PASSPHRASE + "!")
    changed = envelope.model_copy(update={"jwe": {**envelope.jwe, "ciphertext": envelope.jwe["ciphertext"][::-1]}})
    with pytest.raises(InvalidInput, match="do not open"):
        unseal(changed, None, read_key(files["P-256"][0]))
    only_keys = seal(VALUES, None, [read_key(files["X25519"][1])])
    with pytest.raises(InvalidInput, match="give a recipient's private key"):
        unseal(only_keys, PASSPHRASE)


def test_weak_keys_and_passphrases_are_refused() -> None:
    with pytest.raises(InvalidInput, match="shorter than 12"):
        seal(VALUES, "short", ())
    with pytest.raises(InvalidInput, match="nobody could open"):
        seal(VALUES, None, ())
    weak = (rsa.generate_private_key(65537, 1024), ed25519.Ed25519PrivateKey.generate())
    for text in (*(pems(key)[1] for key in weak), "hello", '{"kty": "oct", "k": "AAAA"}'):
        with pytest.raises(InvalidInput, match="none that can be used"):
            read_key(text)
