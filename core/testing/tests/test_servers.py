"""Programs that may be missing, and the PostgreSQL that tests share."""

from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from toolway_testing.servers import REQUIRE, require_program


def test_a_missing_program_skips_the_test_and_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(REQUIRE, raising=False)

    with pytest.raises(pytest.skip.Exception, match="no-such-program is missing: install the package such"):
        require_program("no-such-program", package="such")


def test_where_nothing_may_be_skipped_a_missing_program_fails_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REQUIRE, "1")

    with pytest.raises(pytest.fail.Exception, match="no-such-program is missing"):
        require_program("no-such-program")


def test_a_program_beside_the_path_is_found_and_the_newest_wins(tmp_path: Path) -> None:
    for version in ("14", "15"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "a-program").touch()

    assert require_program("a-program", also_in=[f"{tmp_path}/*"]) == (tmp_path / "15/a-program").resolve()


@pytest.mark.server
def test_every_test_gets_an_empty_postgresql_database(postgres_url: str) -> None:
    engine = create_engine(postgres_url)

    with engine.begin() as connection:
        connection.execute(text("create table kept (id int)"))
        tables = connection.execute(text("select tablename from pg_tables where schemaname = 'public'")).scalars().all()

    engine.dispose()
    assert tables == ["kept"]
