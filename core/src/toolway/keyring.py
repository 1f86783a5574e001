"""Keys: the root key wraps a ring of keys in the database, the ring seals what leaves the gateway and comes back."""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
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
        return _text(self._newest + nonce + sealed)

    def open(self, purpose: str, token: str) -> bytes | None:
        """The payload; None when the token is malformed, altered, of another purpose, or its key is unknown."""
        try:
            raw = base64.b64decode(token.encode("ascii") + b"=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except ValueError:
            return None
        key = self._keys.get(raw[:ID])
        if key is None or _text(raw) != token:
            return None
        try:
            return key.decrypt(raw[ID : ID + NONCE], raw[ID + NONCE :], purpose.encode())
        except (InvalidTag, ValueError):
            return None


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def root_key_file(directory: Path) -> str:
    """The root key in `directory/root.key`, made on first use (0600). Raises ConfigError when others can read it."""
    prepare_directory(directory)
    path = directory / "root.key"
    if not path.exists():
        _make_root_key(path)
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f'{path} can be read by others; run "chmod 600 {path}"')
    try:
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        raise ConfigError(f"{path} cannot be read; let the user that runs the gateway own it") from None
    if not text:
        raise ConfigError(f"{path} is empty; restore it from a backup, or remove it together with the database")
    return text


def _make_root_key(path: Path) -> None:
    """Make it whole or not at all; of several processes one succeeds, and its key is on the disk before it is used."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".root.key-")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32))
            file.flush()
            os.fsync(descriptor)
        with contextlib.suppress(FileExistsError):
            os.link(name, path)
    finally:
        Path(name).unlink()


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
    root = _root(root_key)
    async with store.read() as tx:
        rows = list(await tx.session.exec(select(KeyRow)))
    return _ring(root, rows) if rows else await _begun(store, root, clock)


async def _begun(store: Store, root: KeyRing, clock: Clock) -> KeyRing:
    """With its first key, unless another node was faster."""
    async with store.write() as tx:
        await store.alone(tx, "ring")
        rows = list(await tx.session.exec(select(KeyRow))) or [_new_row(root, clock.now())]
        tx.session.add_all(rows)
        return _ring(root, rows)


def _ring(root: KeyRing, rows: Sequence[KeyRow]) -> KeyRing:
    newest_first = sorted(rows, key=lambda row: row.created_at, reverse=True)
    return KeyRing([_unwrap(root, row) for row in newest_first])


def _root(root_key: str) -> KeyRing:
    """What wraps the keys of the ring."""
    if len(root_key) < 32:
        raise ConfigError("gateway.root_key is shorter than 32 characters; use 32 random bytes in base64")
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"toolway root key").derive(root_key.encode())
    return KeyRing([(bytes(ID), derived)])


def _new_row(root: KeyRing, now: float) -> KeyRow:
    key_id = os.urandom(ID).hex()
    wrapped = root.seal(f"ring:{key_id}", AESGCM.generate_key(256))
    return KeyRow(id=key_id, created_at=now, wrapped=wrapped.encode())


def _unwrap(root: KeyRing, row: KeyRow) -> tuple[bytes, bytes]:
    key = root.open(f"ring:{row.id}", row.wrapped.decode())
    if key is None:
        raise ConfigError(
            "the root key does not open this database's key ring; use the root key that the database was made with"
        )
    return bytes.fromhex(row.id), key
