"""A database whose URL a plugin resolves is backed up and restored like any other."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from toolway.cli.app import run


def typed(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["toolway", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        run()
    return int(ended.value.code or 0)


def configured(tmp_path: Path, database: str, tables: str = "") -> Path:
    file = tmp_path / "toolway.toml"
    file.write_text(f'[gateway]\ndata_dir = "{tmp_path}/data"\ndatabase = "{database}"\n{tables}')
    return file


@pytest.mark.server
def test_the_address_can_be_a_secret_of_vault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("toolway_vault")
    from openbao import running_openbao

    for name in ("state", "data", "openbao"):
        (tmp_path / name).mkdir(mode=0o700)
    database, backup = tmp_path / "state/gate.db", tmp_path / "backup.tar.gz"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("create table kept (it)")
    with running_openbao(tmp_path / "openbao") as vault:
        mount = vault.kv()
        vault.put(mount, "gate", url=f"sqlite+aiosqlite:///{database}")
        login = f'login = {{ method = "token", token = "literal:{vault.root}" }}'
        tables = f'[plugins]\nenable = ["vault"]\n[plugins.vault]\naddress = "{vault.address}"\n{login}\n'
        file = configured(tmp_path, f"vault:{mount}/gate#url", tables)

        assert typed(monkeypatch, "backup", "-o", backup, "--config", file) == 0
        database.unlink()
        assert typed(monkeypatch, "restore", backup, "--config", file) == 0

    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("select * from kept").fetchall() == []
    assert vault.root not in "".join(capsys.readouterr())


def test_a_reference_that_no_plugin_resolves_is_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = configured(tmp_path, "vault:kv/gate#url")

    assert typed(monkeypatch, "backup", "-o", tmp_path / "backup.tar.gz", "--config", file) == 1

    told = " ".join(capsys.readouterr().err.split())
    assert "'vault', which the gateway cannot resolve now: secret scheme 'vault' is not known" in told
    assert "TOOLWAY_GATEWAY__DATABASE to env:NAME" in told
