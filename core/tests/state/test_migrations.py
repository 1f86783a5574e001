"""The database follows the installed packages, and Alembic is only loaded when something is due."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest
from sqlalchemy import Connection, MetaData, inspect, text
from sqlmodel import SQLModel

from toolway.catalog.store import Store
from toolway.errors import ConfigError
from toolway.hookspecs.system import MigrationSource
from toolway.migrations.run import migrate, newest_revision, version_table

Connect = Callable[[str], Store]
History = list[MigrationSource]


async def tables(store: Store) -> set[str]:
    async with store.read() as tx:
        connection = await tx.session.connection()
        return set(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))


def package(directory: Path, name: str, **revisions: str) -> MigrationSource:
    """An installed package with these bodies of `upgrade`."""
    versions = directory / name / "migrations" / "versions"
    versions.mkdir(parents=True)
    (directory / name / "__init__.py").touch()
    before = None
    for number, body in revisions.items():
        lines = [
            f"revision = {number[1:]!r}",
            f"down_revision = {before!r}",
            "from alembic import op",
            "def upgrade():",
        ]
        (versions / f"{number[1:]}_step.py").write_text("\n".join([*lines, f"    {body}"]))
        before = number[1:]
    return MigrationSource(name.replace("_", "-"), f"{name}:migrations", MetaData())


@pytest.fixture
def importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def difference(connection: Connection) -> list[object]:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    ours = SQLModel.metadata.tables
    options = {"include_name": lambda name, kind, _: kind != "table" or name in ours, "compare_type": True}
    context = MigrationContext.configure(connection, opts=options)
    return list(compare_metadata(context, SQLModel.metadata))


async def test_the_migrations_make_what_the_models_say(store: Store) -> None:
    async with store.read() as tx:
        connection = await tx.session.connection()
        assert await connection.run_sync(difference) == []


async def test_a_database_that_is_up_to_date_is_left_alone_without_loading_alembic(
    nodes: tuple[Store, Store], database_url: str
) -> None:
    program = dedent(
        """
        import asyncio, sys
        from toolway.bundled import bundled_plugins
        from toolway.catalog.store import Store
        from toolway.hookspecs.system import toolway_migrations
        from toolway.migrations.run import kernel_history, migrate
        from toolway.plugin.host import Plugins

        async def main():
            store = Store.connect(sys.argv[1])
            plugins = Plugins.load([], builtins=bundled_plugins())
            await migrate(store, [kernel_history(), *plugins.collect(toolway_migrations, None)])
            await store.close()

        asyncio.run(main())
        print("alembic" in sys.modules)
        """
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, database_url, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert (process.returncode, output) == (0, b"False\n")


async def test_each_package_has_its_own_history(
    database_url: str, connect: Connect, kernel_history: History, importable: Path
) -> None:
    store = connect(database_url)
    notes = package(importable, "notes_one", _0001='op.execute("create table notes_one (a integer)")')
    await migrate(store, [*kernel_history, notes])
    await migrate(store, [*kernel_history, notes])
    assert {"notes_one", "alembic_version_notes_one", "alembic_version_toolway"} <= await tables(store)


async def test_a_new_revision_is_applied_to_what_is_there(
    database_url: str, connect: Connect, importable: Path
) -> None:
    store = connect(database_url)
    notes = package(importable, "notes_two", _0001='op.execute("create table notes_two (a integer)")')
    await migrate(store, [notes])
    versions = importable / "notes_two" / "migrations" / "versions"
    (versions / "0002_more.py").write_text(
        "revision, down_revision = '0002', '0001'\nfrom alembic import op\n"
        "def upgrade():\n    op.execute('create table notes_more (a integer)')"
    )
    await migrate(store, [notes])
    assert newest_revision(notes) == "0002"
    assert "notes_more" in await tables(store)


async def test_a_step_that_fails_changes_nothing_and_is_named(
    database_url: str, connect: Connect, importable: Path
) -> None:
    store = connect(database_url)
    good = package(importable, "notes_good", _0001='op.execute("create table notes_good (a integer)")')
    bad = package(importable, "notes_bad", _0001='op.execute("create table")')
    with pytest.raises(ConfigError, match="revision 0001 of 'notes-bad'"):
        await migrate(store, [good, bad])
    assert await tables(store) == set()


async def test_a_database_that_is_newer_than_the_package_is_refused(store: Store, kernel_history: History) -> None:
    async with store.write() as tx:
        connection = await tx.session.connection()
        await connection.execute(text(f"update {version_table(kernel_history[0])} set version_num = '9999'"))
    with pytest.raises(ConfigError, match="has revision 9999 of 'toolway'"):
        await migrate(store, kernel_history)
