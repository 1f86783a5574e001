"""A gateway that runs is backed up; one that starts on what was restored goes on with the same state and keys."""

from __future__ import annotations

import asyncio
import tarfile
from pathlib import Path
from typing import Any

import pytest

from toolway.plugin import Conflict, InvalidInput
from toolway_testing.gateway import StartGateway
from toolway_testing.postgres import Postgres, execute
from toolway_testing.servers import require_program
from toolway_transfer.backup import backup, restore
from toolway_transfer.places import Place, place_of

BODY = {
    "name": "billing",
    "endpoints": ["https://b.example.com/mcp"],
    "enabled": False,
    "auth": {"type": "bearer", "token": "top-secret-token"},
}


@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgres", marks=pytest.mark.server)])
async def test_a_restored_gateway_has_everything_and_opens_its_credentials(
    gateway: StartGateway, tmp_path: Path, database: str, request: pytest.FixtureRequest
) -> None:
    urls = ["", ""]
    if database == "postgres":
        for program in ("pg_dump", "pg_restore"):
            require_program(program, package="postgresql-client")
        server: Postgres = request.getfixturevalue("postgres_server")
        execute(server, "create database restored")
        urls = [request.getfixturevalue("postgres_url"), server.url("restored")]
    old, new = (Place(tmp_path / name, url) for name, url in zip(("old", "new"), urls, strict=True))

    def where(place: Place) -> dict[str, Any]:
        return {"data_dir": place.data_dir, **({"database": f"literal:{place.database}"} if place.database else {})}

    first = await gateway(**where(old))
    assert (await first.api("POST", "/upstreams", BODY)).status == 201
    file = tmp_path / "backup.tar.gz"

    members = await asyncio.to_thread(backup, old, file)
    await asyncio.to_thread(restore, new, file)
    with pytest.raises(Conflict, match="--force"):
        await asyncio.to_thread(restore, new, file)
    await asyncio.to_thread(restore, new, file, force=True)

    assert len(members) == 2 and "root.key" in members and file.stat().st_mode & 0o077 == 0
    second = await gateway(**where(new))
    second.token = first.token
    shown = await second.api("GET", "/upstreams/billing")
    assert shown.status == 200 and shown.content["auth"]["token"] == "sealed:hidden"
    async with second.gateway.kernel.database.read() as tx:
        (entity,) = [each for each in second.gateway.kernel.entities if each.kind == "upstreams"]
        stored: Any = await entity.get(tx, "billing")
    assert await second.gateway.kernel.secrets.get(stored.value.auth.token) == "top-secret-token"
    if database == "postgres":
        with pytest.raises(Conflict, match=r"[0-9] other sessions use the database; stop every gateway"):
            await asyncio.to_thread(restore, new, file)


async def test_what_is_in_the_way_or_damaged_is_told_and_left_alone(gateway: StartGateway, tmp_path: Path) -> None:
    place, file = Place(tmp_path / "data"), tmp_path / "backup.tar.gz"
    await gateway()
    backup(place, file)

    with pytest.raises(Conflict, match="move it away, or replace"):
        restore(place, file)
    other = tmp_path / "other"
    other.mkdir(mode=0o700)
    (other / "root.key").write_text("another key")
    with pytest.raises(Conflict, match="another root key"):
        restore(Place(other), file)
    assert [path.name for path in other.iterdir() if path.name != "lock"] == ["root.key"]
    for content in (b"", file.read_bytes()[:-400], b"hello"):
        file.write_bytes(content)
        with pytest.raises(InvalidInput, match="take another"):
            restore(Place(tmp_path / "third"), file)
    with pytest.raises(InvalidInput, match="no database"):
        backup(Place(tmp_path / "nothing"), file)


def test_members_that_are_not_known_are_not_written(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"format": "toolway-backup", "version": 1, "members": {"../x": "0"}}')
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        archive.add(tmp_path / "manifest.json", "manifest.json")
        archive.add(tmp_path / "manifest.json", "../x")

    with pytest.raises(InvalidInput, match="not known"):
        restore(Place(tmp_path / "data"), tmp_path / "evil.tar")


def test_the_configuration_says_where_the_state_is(tmp_path: Path) -> None:
    file, secret = tmp_path / "toolway.toml", tmp_path / "url"
    file.write_text('[gateway]\ndata_dir = "/srv/toolway"\ndatabase = "env:NOT_SET_ANYWHERE"\n')
    (tmp_path / "toolway.d").mkdir()
    (tmp_path / "toolway.d/1.toml").write_text(f'[gateway]\ndatabase = "file:{secret}"\nroot_key = "env:KEY"\n')
    secret.write_text("postgresql+psycopg://me:p%40ss@db.example.com:5433/gate?sslmode=require\n")

    place = place_of(file, {})

    assert (place.data_dir, place.sqlite, place.has_own_key) == (Path("/srv/toolway"), None, False)
    environment = place.postgres()
    expected = {"HOST": "db.example.com", "PORT": "5433", "USER": "me", "PASSWORD": "p@ss", "DATABASE": "gate"}
    assert {name: environment[f"PG{name}"] for name in expected} == expected
    assert environment["PGSSLMODE"] == "require"
    with pytest.raises(InvalidInput, match="gives nothing here"):
        place_of(file, {"TOOLWAY_GATEWAY__DATABASE": "env:NOT_SET_ANYWHERE"})
