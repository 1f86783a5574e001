"""Backups of what is written to, and restoring over what is there: newer, older, damaged, or in use."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from toolway.plugin import Conflict
from toolway_testing.gateway import StartGateway
from toolway_transfer.backup import backup, restore
from toolway_transfer.places import Place

BODY = {"name": "billing", "endpoints": ["https://b.example.com/mcp"], "enabled": False}
OLDER = "drop table revocation; update alembic_version_toolway set version_num = '0001'"
"""What makes the database of this release one of the release before."""


def connected(place: Place) -> sqlite3.Connection:
    assert place.sqlite is not None
    return sqlite3.connect(place.sqlite, timeout=10)


@contextmanager
def written_to(place: Place) -> Iterator[None]:
    """While a thread writes pairs of rows, each pair in one transaction; at least one is there."""
    stop, wrote = threading.Event(), threading.Event()

    def write() -> None:
        with closing(connected(place)) as database:
            while not stop.is_set():
                with database:
                    database.executemany("insert into pair values (?)", [(b"x" * 2000,)] * 2)
                wrote.set()

    with closing(connected(place)) as database:
        database.executescript("PRAGMA journal_mode=WAL; create table pair (content blob)")
    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert wrote.wait(10)
        yield
    finally:
        stop.set()
        writer.join(10)


def pairs(place: Place) -> int:
    with closing(connected(place)) as database:
        return int(database.execute("select count(*) from pair").fetchone()[0])


def test_a_backup_of_a_database_that_is_written_to_is_one_state_of_it(tmp_path: Path) -> None:
    place, copy, file = Place(tmp_path / "a state?#%20"), Place(tmp_path / "copy"), tmp_path / "backup.tar.gz"
    place.data_dir.mkdir()

    with written_to(place):
        for _ in range(3):
            backup(place, file)
            restore(copy, file, force=True)
            assert pairs(copy) % 2 == 0 and pairs(copy) > 0
        with pytest.raises(Conflict, match=r"in use .*stop the gateway"):
            restore(place, file, force=True)

    rows = pairs(place)
    restore(place, file, force=True)
    assert 0 < pairs(place) < rows
    assert {path.name for path in place.data_dir.iterdir()} == {"toolway.db", "lock"}
    assert place.sqlite is not None and place.sqlite.stat().st_mode & 0o077 == 0


def test_what_is_damaged_is_replaced_and_what_others_left_half_done_is_not_in_the_way(tmp_path: Path) -> None:
    place, file = Place(tmp_path / "data"), tmp_path / "backup.tar.gz"
    place.data_dir.mkdir()
    with closing(connected(place)) as database:
        database.execute("create table pair (content blob)")
    for left in (tmp_path / ".backup.tar.gz.part", place.data_dir / ".toolway.db.restored"):
        left.write_text("half done")
        left.chmod(0o644)

    backup(place, file)
    (place.data_dir / "toolway.db").write_bytes(b"damaged" * 1000)
    restore(place, file, force=True)

    assert pairs(place) == 0
    assert file.stat().st_mode & 0o077 == (place.data_dir / "toolway.db").stat().st_mode & 0o077 == 0


async def test_a_database_that_a_gateway_has_open_is_not_replaced(gateway: StartGateway, tmp_path: Path) -> None:
    place, file = Place(tmp_path / "data"), tmp_path / "backup.tar.gz"
    gate = await gateway()
    await asyncio.gather(*(gate.api("GET", "/upstreams") for _ in range(20)))
    backup(place, file)

    code = "from toolway.cli import main; main()"
    command = [sys.executable, "-c", code, "restore", str(file), "--force"]
    here = {**os.environ, "TOOLWAY_GATEWAY__DATA_DIR": str(place.data_dir)}
    process = await asyncio.create_subprocess_exec(*command, stderr=subprocess.PIPE, env=here, cwd=tmp_path)
    told = (await asyncio.wait_for(process.communicate(), 60))[1].decode()

    assert process.returncode == 1 and "is in use (database is locked); stop the gateway" in " ".join(told.split())
    assert (await gate.api("GET", "/upstreams")).status == 200


async def test_a_backup_of_an_older_release_is_brought_up_to_date_at_the_start(
    gateway: StartGateway, tmp_path: Path
) -> None:
    old, new, file = Place(tmp_path / "old"), Place(tmp_path / "new"), tmp_path / "backup.tar.gz"
    first = await gateway(data_dir=old.data_dir)
    assert (await first.api("POST", "/upstreams", BODY)).status == 201
    backup(old, file)
    restore(new, file)
    with closing(connected(new)) as database:
        database.executescript(OLDER)
    backup(new, file)
    restore(new, file, force=True)

    second = await gateway(data_dir=new.data_dir)

    second.token = first.token
    assert (await second.api("GET", "/upstreams/billing")).status == 200
    with closing(connected(new)) as database:
        assert database.execute("select count(*) from revocation").fetchone() == (0,)
