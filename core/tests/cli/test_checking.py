"""`toolway check` finds what `serve` would refuse, and leaves everything as it is."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import psycopg
import pytest

from toolway.app import build_gateway
from toolway.cli.checking import Finding, check_configuration
from toolway.config import load_config
from toolway.keep import Keeper


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration whose data directory is not there yet."""
    file = tmp_path / "toolway.toml"
    file.write_text(f'[gateway]\ndata_dir = "{tmp_path / "data"}"\n')
    return file


async def _make_all(file: Path) -> None:
    """What `serve` makes at its first start."""
    holder = Keeper().holder()
    await build_gateway(load_config(file), holder)
    await holder.release()


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_before_the_first_start_nothing_is_made(file: Path) -> None:
    assert check_configuration(file) == []
    assert list(file.parent.iterdir()) == [file]


def test_an_empty_directory_that_is_there_already_stays_empty(file: Path) -> None:
    (file.parent / "data").mkdir(mode=0o700)

    assert check_configuration(file) == []
    assert list((file.parent / "data").iterdir()) == []


def test_a_directory_that_others_can_enter_is_an_error(file: Path) -> None:
    (file.parent / "data").mkdir()
    (file.parent / "data").chmod(0o755)

    (finding,) = check_configuration(file)

    assert (finding.level, "is open to others" in finding.message) == ("error", True)


def test_a_database_that_is_up_to_date_is_only_read(file: Path) -> None:
    asyncio.run(_make_all(file))
    before = contents(file.parent)

    assert check_configuration(file) == []
    assert contents(file.parent) == before


def test_migrations_that_are_due_are_a_warning_and_not_made(file: Path) -> None:
    asyncio.run(_make_all(file))
    with sqlite3.connect(file.parent / "data/toolway.db") as database:
        database.execute("drop table alembic_version_stores")
    database.close()

    findings = check_configuration(file)

    assert findings == [Finding("warning", "migrations of stores are pending; the next start makes them")]
    with sqlite3.connect(file.parent / "data/toolway.db") as database:
        assert not database.execute("select 1 from sqlite_master where name = 'alembic_version_stores'").fetchall()
    database.close()


def test_a_root_key_that_was_lost_is_an_error_and_not_made_anew(file: Path) -> None:
    asyncio.run(_make_all(file))
    (file.parent / "data/root.key").unlink()

    (finding,) = check_configuration(file)

    assert "the root key does not open this database's key ring" in finding.message
    assert not (file.parent / "data/root.key").exists()


def test_tls_files_that_cannot_be_used_are_an_error(file: Path) -> None:
    (file.parent / "cert.pem").write_text("no certificate")
    with file.open("a") as more:
        more.write(f'tls = {{ cert = "{file.parent / "cert.pem"}", key = "{file.parent / "missing.pem"}" }}\n')

    (finding,) = check_configuration(file)

    assert (finding.level, finding.message.partition(" (")[0]) == ("error", "gateway.tls cannot be used")


def test_a_reference_of_a_scheme_that_no_enabled_plugin_has_is_an_error(file: Path) -> None:
    with file.open("a") as more:
        more.write('[[upstreams]]\nname = "billing"\nendpoints = ["https://billing.example.com/mcp"]\n')
        more.write('auth = { type = "bearer", token = "vault:kv/billing#token" }\n')
        more.write('headers = { "X-Known" = "env:KNOWN", "X-Other" = "other:a" }\n')

    (finding,) = check_configuration(file)

    assert finding.level == "error"
    assert "upstream 'billing': auth.token must not be a reference of the scheme 'vault'" in finding.message
    assert "headers.X-Other must not be a reference of the scheme 'other'" in finding.message
    assert "enable the plugin that brings it" in finding.message
    assert "X-Known" not in finding.message


@pytest.mark.server
def test_an_empty_postgresql_database_stays_empty(file: Path, postgres_url: str) -> None:
    with file.open("a") as more:
        more.write(f'database = "literal:{postgres_url}"\n')

    literal, pending = check_configuration(file)

    assert (literal.level, pending.level) == ("warning", "warning")
    assert "migrations of toolway, " in pending.message
    with psycopg.connect(postgres_url.replace("+psycopg", "")) as database:
        assert database.execute("select 1 from pg_tables where schemaname = 'public'").fetchall() == []
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        (
            'database = "postgresql+psycopg://db/toolway"',
            "secret scheme 'postgresql+psycopg' is not known; known: env, ",
        ),
        ('database = "env:NOT_SET"', "environment variable NOT_SET is not set"),
        ('root_key = "env:NOT_SET"', "environment variable NOT_SET is not set"),
    ],
)
def test_a_reference_that_leads_nowhere_is_told_with_its_setting(file: Path, setting: str, complaint: str) -> None:
    file.write_text(f"{file.read_text()}{setting}\n")

    (finding,) = check_configuration(file)

    assert finding.message.startswith(f"gateway.{setting.partition(' ')[0]} cannot be resolved: {complaint}")


def test_a_file_of_tls_that_is_missing_is_named(file: Path) -> None:
    missing = file.parent / "missing.pem"
    file.write_text(f'{file.read_text()}[gateway.tls]\ncert = "{missing}"\nkey = "{missing}"\n')

    complaint = check_configuration(file)[0].message

    assert complaint.startswith(f"gateway.tls cannot be used ([Errno 2] No such file or directory: '{missing}')")
