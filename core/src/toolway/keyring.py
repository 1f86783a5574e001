"""Keys: the root key wraps a ring of keys in the database, the ring seals what leaves the gateway and comes back."""

from __future__ import annotations

import base64
import os
import secrets
import stat
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import text
from sqlmodel import select

from toolway.catalog.models import KeyRow
from toolway.catalog.store import Store
from toolway.errors import ConfigError
from toolway.plugin.kernel import Clock

NONCE = 12
ID = 6


class KeyRing:
    """Seals with the newest key and opens with any (AES-256-GCM; the purpose is associated data)."""

    def __init__(self, keys: list[tuple[bytes, bytes]]) -> None:
        """`keys` are pairs of id and key, newest first."""
        self._keys = {key_id: AESGCM(key) for key_id, key in keys}
        self._newest = keys[0][0]

    def seal(self, purpose: str, payload: bytes) -> str:
        """URL-safe text: key id, nonce, ciphertext."""
        nonce = os.urandom(NONCE)
        sealed = self._keys[self._newest].encrypt(nonce, payload, purpose.encode())
        return base64.urlsafe_b64encode(self._newest + nonce + sealed).rstrip(b"=").decode()

    def open(self, purpose: str, token: str) -> bytes | None:
        """The payload; None when the token is malformed, altered, of another purpose, or its key is unknown."""
        try:
            raw = base64.b64decode(token.encode("ascii") + b"=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except ValueError:
            return None
        key = self._keys.get(raw[:ID])
        if key is None or _canonical(raw) != token:
            return None
        try:
            return key.decrypt(raw[ID : ID + NONCE], raw[ID + NONCE :], purpose.encode())
        except (InvalidTag, ValueError):
            return None


def _canonical(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def root_key_file(directory: Path) -> str:
    """The root key in `directory/root.key`, made on first use (0600). Raises ConfigError when others can read it."""
    prepare_directory(directory)
    path = directory / "root.key"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ConfigError(f'{path} can be read by others; run "chmod 600 {path}"') from None
    else:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32))
    for _ in range(100):
        if text := path.read_text().strip():
            return text
    raise ConfigError(f"{path} is empty; restore it from a backup, or remove it together with the database")


def prepare_directory(directory: Path) -> None:
    """Make the data directory (0700). Raises ConfigError when others can enter it or it cannot be made."""
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigError(f"gateway.data_dir {directory} cannot be made: {error.strerror}") from None
    if directory.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f'gateway.data_dir {directory} is open to others; run "chmod 700 {directory}"')


async def open_ring(store: Store, root_key: str, clock: Clock) -> KeyRing:
    """The ring of this database, made when it has none.

    Raises:
        ConfigError: the root key is too short or does not open the ring.
    """
    wrapping = _wrapping_key(root_key)
    async with store.write() as tx:
        if not store.is_sqlite:
            await tx.session.exec(text("select pg_advisory_xact_lock(4440)"))  # type: ignore[call-overload]
        rows = list(await tx.session.exec(select(KeyRow)))
        if not rows:
            rows = [_new_row(wrapping, clock.now())]
            tx.session.add(rows[0])
            await tx.session.flush()
        newest_first = sorted(rows, key=lambda row: (row.created_at, row.id), reverse=True)
        return KeyRing([_unwrap(wrapping, row) for row in newest_first])


def _wrapping_key(root_key: str) -> AESGCM:
    if len(root_key) < 32:
        raise ConfigError("gateway.root_key is shorter than 32 characters; use 32 random bytes in base64")
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"toolway root key").derive(root_key.encode())
    return AESGCM(derived)


def _new_row(wrapping: AESGCM, now: float) -> KeyRow:
    key_id, nonce = os.urandom(ID), os.urandom(NONCE)
    wrapped = nonce + wrapping.encrypt(nonce, AESGCM.generate_key(256), b"ring:" + key_id)
    return KeyRow(id=key_id.hex(), created_at=now, wrapped=wrapped)


def _unwrap(wrapping: AESGCM, row: KeyRow) -> tuple[bytes, bytes]:
    key_id = bytes.fromhex(row.id)
    try:
        return key_id, wrapping.decrypt(row.wrapped[:NONCE], row.wrapped[NONCE:], b"ring:" + key_id)
    except InvalidTag:
        raise ConfigError(
            "the root key does not open this database's key ring; use the root key that the database was made with"
        ) from None
