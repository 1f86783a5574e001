"""A private PostgreSQL for the length of a test session: own directory, own port on 127.0.0.1, gone afterwards."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from toolway_testing.polling import eventually_now
from toolway_testing.ports import free_port
from toolway_testing.servers import require_program

USER = "toolway"
START_SECONDS = 30.0
STOP_SECONDS = 15.0
DEBIAN = ("/usr/lib/postgresql/*/bin",)
OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "100",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}


@dataclass(frozen=True)
class Postgres:
    """A running server whose superuser `toolway` needs no password on 127.0.0.1."""

    port: int
    log: Path

    def url(self, database: str = "postgres") -> str:
        """The address of one database, for SQLAlchemy."""
        return f"postgresql+psycopg://{USER}@127.0.0.1:{self.port}/{database}"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """The server; the test is skipped (or fails, see `require_server`) where PostgreSQL is not installed."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: Postgres) -> Iterator[str]:
    """The `postgresql+psycopg://` address of an empty database of the test's own, dropped afterwards."""
    database = f"test_{uuid.uuid4().hex}"
    execute(postgres_server, f"create database {database}")
    yield postgres_server.url(database)
    execute(postgres_server, f"drop database {database} with (force)")


@contextlib.contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A PostgreSQL that runs until the block ends.

    As root it runs as the system user `postgres`, else `nobody`, because it refuses to run as root.

    Raises:
        RuntimeError: it could not be started; the message has the end of its log.
    """
    initdb = require_program("initdb", also_in=DEBIAN, package="postgresql")
    directory = Path(tempfile.mkdtemp(prefix="toolway-postgres-"))
    try:
        owner = _owner(directory)
        _initialize([*owner, str(initdb)], directory)
        with _serving([*owner, str(initdb.with_name("postgres"))], directory) as server:
            yield server
    finally:
        shutil.rmtree(directory)


def execute(server: Postgres, statement: str) -> None:
    """Run one statement outside a transaction."""
    import psycopg

    with psycopg.connect(server.url().replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(statement.encode())


def _owner(directory: Path) -> list[str]:
    """The start of a command that gives up root, after giving away the directory; empty for everybody else."""
    if os.getuid() != 0:
        return []
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    os.chown(directory, user.pw_uid, user.pw_gid)
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--"]


def _initialize(initdb: list[str], directory: Path) -> None:
    options = ["-U", USER, "--auth=trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "-D", str(directory / "data")]
    done = subprocess.run([*initdb, *options], cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"initdb failed:\n{done.stdout}{done.stderr}")


@contextlib.contextmanager
def _serving(postgres: list[str], directory: Path) -> Iterator[Postgres]:
    server = Postgres(free_port(), directory / "postgres.log")
    options = {**OPTIONS, "port": str(server.port), "unix_socket_directories": str(directory)}
    arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    with server.log.open("wb") as log:
        command = [*postgres, "-D", str(directory / "data"), *arguments]
        process = subprocess.Popen(command, cwd=directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        eventually_now(lambda: process.poll() is not None or _accepts(server), START_SECONDS)
        if process.poll() is not None:
            raise RuntimeError(f"postgres ended with {process.returncode}:\n{server.log.read_text()[-4000:]}")
        yield server
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(STOP_SECONDS)


def _accepts(server: Postgres) -> bool:
    """Whether it answers queries; while it recovers it takes connections and refuses them."""
    import psycopg

    try:
        with socket.create_connection(("127.0.0.1", server.port), timeout=1):
            execute(server, "select 1")
    except (OSError, psycopg.OperationalError):
        return False
    return True
