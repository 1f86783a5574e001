"""Database and root key in one file, and back; the gateway may run while a backup is made.

A backup is a tar archive with `manifest.json`, the database (a copy of SQLite's, or what pg_dump makes) and `root.key`.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import sqlite3
import subprocess
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from toolway.plugin import Conflict, InvalidInput
from toolway_transfer.places import Place

SQLITE, POSTGRES, KEY, MANIFEST = "toolway.db", "postgres.dump", "root.key", "manifest.json"
LARGEST_MANIFEST = 65_536
SESSIONS = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"


class Manifest(msgspec.Struct):
    """What is in a backup: the SHA-256 of each member."""

    format: str
    version: int
    members: dict[str, str]


def backup(place: Place, output: Path) -> Sequence[str]:
    """Write a backup, readable by its owner only; the names of its members. Raises InvalidInput, Conflict."""
    with tempfile.TemporaryDirectory(prefix="toolway-backup-") as scratch:
        folder = Path(scratch)
        if place.sqlite is not None:
            _copy_sqlite(place.sqlite, folder / SQLITE)
        else:
            _run("pg_dump", ["--format=custom", "--no-owner", f"--file={folder / POSTGRES}"], place)
        if place.has_own_key and (place.data_dir / KEY).exists():
            shutil.copyfile(place.data_dir / KEY, folder / KEY)
        members = sorted(path.name for path in folder.iterdir())
        manifest = Manifest("toolway-backup", 1, {name: _digest(folder / name) for name in members})
        (folder / MANIFEST).write_bytes(msgspec.json.encode(manifest))
        _write(output, folder, [MANIFEST, *members])
    return members


def restore(place: Place, file: Path, *, force: bool = False) -> Sequence[str]:
    """Put database and key of a backup into their places; raises InvalidInput, or Conflict for what is in the way."""
    with tempfile.TemporaryDirectory(prefix="toolway-restore-") as scratch:
        folder = Path(scratch)
        members = _extracted(file, folder)
        wanted = SQLITE if place.sqlite is not None else POSTGRES
        if wanted not in members:
            raise InvalidInput(f"the backup has no {wanted}; configure a database of the kind that it was made of")
        with _alone(place.data_dir):
            if not force:
                _refuse_what_is_there(place, folder / KEY)
            if place.sqlite is not None:
                _put_sqlite(folder / SQLITE, place.sqlite)
            else:
                _put_postgres(folder / POSTGRES, place, force=force)
            if KEY in members:
                _staged(folder / KEY, place.data_dir / KEY).replace(place.data_dir / KEY)
    return members


def _refuse_what_is_there(place: Place, new_key: Path) -> None:
    if place.sqlite is not None and place.sqlite.exists():
        raise Conflict(f"there is a database at {place.sqlite}; move it away, or replace it with --force")
    key = place.data_dir / KEY
    if new_key.exists() and key.exists() and key.read_bytes() != new_key.read_bytes():
        raise Conflict(f"there is another root key at {key}; move it away, or replace it with --force")


def _copy_sqlite(source: Path, target: Path) -> None:
    """With SQLite's online backup, which sees one consistent state while others write."""
    if not source.exists():
        raise InvalidInput(f"there is no database at {source}; name the configuration file of the gateway")
    with (
        contextlib.closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True, timeout=30)) as origin,
        contextlib.closing(sqlite3.connect(target)) as copy,
    ):
        origin.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")


def _put_sqlite(copy: Path, target: Path) -> None:
    with contextlib.closing(sqlite3.connect(copy)) as restored:
        if restored.execute("PRAGMA integrity_check").fetchone() != ("ok",):
            raise InvalidInput("the database in the backup is damaged; take another backup")
    _refuse_while_open(target)
    staged = _staged(copy, target)
    for suffix in ("-wal", "-shm"):  # of the old one; not before the new one is there
        Path(f"{target}{suffix}").unlink(missing_ok=True)
    staged.replace(target)


def _refuse_while_open(database: Path) -> None:
    """Every connection of a gateway holds a lock on the file as long as it is open."""
    if not database.exists():
        return
    with contextlib.closing(sqlite3.connect(database, timeout=0)) as probe:
        try:
            probe.execute("PRAGMA locking_mode=EXCLUSIVE")
            probe.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            raise Conflict(f"{database} is in use ({error}); stop the gateway before you restore") from None
        except sqlite3.DatabaseError:
            return  # it is damaged, which is why somebody restores it


def _put_postgres(dump: Path, place: Place, *, force: bool) -> None:
    """As a whole or not at all."""
    others = _run("psql", ["-Atc", SESSIONS], place).strip()
    if others != "0":
        raise Conflict(f"{others} other sessions use the database; stop every gateway of it before you restore")
    name = place.postgres()["PGDATABASE"]
    replacing = ["--clean", "--if-exists"] if force else []
    options = [*replacing, "--no-owner", "--single-transaction", "--exit-on-error", f"--dbname={name}", str(dump)]
    _run("pg_restore", options, place)


def _staged(copy: Path, target: Path) -> Path:
    """The same bytes beside their place, on the disk, for their owner alone."""
    staged = target.with_name(f".{target.name}.restored")
    staged.unlink(missing_ok=True)
    with copy.open("rb") as source, _private(staged) as out:
        shutil.copyfileobj(source, out)
        out.flush()
        os.fsync(out.fileno())
    return staged


def _private(path: Path) -> BinaryIO:
    """A new file that only its owner reads."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


@contextmanager
def _alone(data_dir: Path) -> Iterator[None]:
    """While no gateway uses the directory, which is made when it is not there."""
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Conflict(f"a gateway uses {data_dir}; stop it before you restore") from None
        yield


def _write(output: Path, folder: Path, names: Sequence[str]) -> None:
    """Whole or not at all."""
    staged = output.with_name(f".{output.name}.part")
    try:
        staged.unlink(missing_ok=True)
        with _private(staged) as out:
            with tarfile.open(fileobj=out, mode="w:gz") as archive:
                for name in names:
                    archive.add(folder / name, name)
            out.flush()
            os.fsync(out.fileno())
        staged.replace(output)
    except OSError as error:
        staged.unlink(missing_ok=True)
        raise InvalidInput(f"{output} cannot be written: {error.strerror}") from None


def _extracted(file: Path, folder: Path) -> Sequence[str]:
    """The members that the manifest names, unchanged; nothing else of the archive is touched."""
    try:
        with tarfile.open(file, "r:*") as archive:
            manifest = _manifest(archive)
            for name, expected in manifest.members.items():
                if name not in (SQLITE, POSTGRES, KEY):
                    raise InvalidInput(
                        f"the backup has a member {name!r} that is not known; use the release that made it"
                    )
                source = archive.extractfile(name)
                if source is None:
                    raise InvalidInput(f"{name} of the backup is no file; take another backup")
                with (folder / name).open("wb") as target:
                    shutil.copyfileobj(source, target)
                if _digest(folder / name) != expected:
                    raise InvalidInput(f"{name} of the backup was changed; take another backup")
    except (OSError, tarfile.TarError, KeyError, EOFError, zlib.error, msgspec.MsgspecError):
        raise InvalidInput(f"{file} is no backup, or damaged; take another one") from None
    return list(manifest.members)


def _manifest(archive: tarfile.TarFile) -> Manifest:
    source = archive.extractfile(MANIFEST)
    manifest = msgspec.json.decode(source.read(LARGEST_MANIFEST) if source else b"", type=Manifest)
    if (manifest.format, manifest.version) != ("toolway-backup", 1):
        raise InvalidInput(f"the backup has version {manifest.version}, and version 1 is what is read here")
    return manifest


def _run(program: str, options: Sequence[str], place: Place) -> str:
    """What one of PostgreSQL's programs prints; raises Conflict with what it complains of."""
    try:
        done = subprocess.run(
            [program, "--no-password", *options], env=place.postgres(), capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise InvalidInput(f"{program} is not installed; install the client programs of PostgreSQL") from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
        hint = "; --force replaces what is there" if "already exists" in done.stderr else ""
        raise Conflict(f"{program} failed: {lines[0]}{hint}")
    return done.stdout


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
