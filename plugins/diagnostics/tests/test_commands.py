"""`toolway doctor` and `toolway diagnose`, as somebody types them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from toolway_testing.ports import free_port
from toolway_testing.processes import serving

TOOLWAY = str(Path(sys.executable).with_name("toolway"))


def ran(*words: str, where: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HOME": str(where.parent / "home"), **variables}
    return subprocess.run(
        [TOOLWAY, *words], env=environment, cwd=where, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture(scope="module")
def gateway_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    directory, address = tmp_path_factory.mktemp("gateway"), f"127.0.0.1:{free_port()}"
    file = directory / "toolway.toml"
    file.write_text(
        f'[gateway]\nbind = "{address}"\ndata_dir = "{directory}/data"\n[plugins]\nenable = ["diagnostics"]\n'
    )
    with serving(file) as log:
        token = re.findall(r"twa_[\w-]+", log.read_text())[0]
        yield {"TOOLWAY_URL": f"http://{address}", "TOOLWAY_TOKEN": token}


def test_the_doctor_looks_at_a_gateway_that_runs(gateway_url: dict[str, str], tmp_path: Path) -> None:
    people = ran("doctor", where=tmp_path, **gateway_url)
    scripts = ran("doctor", "--json", where=tmp_path, **gateway_url)

    assert re.search(r"database +ok +answers in \d+ ms and is whole", people.stdout), people.stdout + people.stderr
    found = json.loads(scripts.stdout)
    assert {"check", "level", "found", "todo"} == found[0].keys()
    assert scripts.returncode == int(any(each["level"] == "error" for each in found))


def test_diagnose_writes_a_report_that_only_its_writer_can_read(gateway_url: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "bundle.zip").touch(0o644)

    done = ran("diagnose", "-o", "bundle.zip", where=tmp_path, **gateway_url)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "bundle.zip").stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(tmp_path / "bundle.zip") as archive:
        assert archive.namelist() == ["report.json", "report.html"]


def test_the_doctor_looks_at_a_configuration_without_a_gateway_and_leaves_nothing_behind(tmp_path: Path) -> None:
    programs = {"here": sys.executable, "gone": "no-such-program"}
    tables = [f'[[upstreams]]\nname = "{each}"\nkind = "stdio"\ncommand = ["{programs[each]}"]' for each in programs]
    (tmp_path / "toolway.toml").write_text("\n".join(tables))

    done = ran("doctor", "-c", "toolway.toml", "--json", where=tmp_path)

    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert [each["found"] for each in found if each["level"] == "error"] == [
        "gone: there is no program no-such-program"
    ]
    assert {"configuration", "database", "keys", "plugins", "upstreams"} <= {each["check"] for each in found}
    assert "error: upstreams: gone: there is no program no-such-program; install it" in done.stderr
    assert [each.name for each in tmp_path.iterdir()] == ["toolway.toml"]


def test_a_damaged_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "toolway-data").mkdir(mode=0o700)
    (tmp_path / "toolway-data/toolway.db").write_bytes(b"this is no database" * 1000)
    (tmp_path / "toolway.toml").touch()

    done = ran("doctor", "-c", "toolway.toml", where=tmp_path)

    assert done.returncode == 1
    assert re.search(r"database +error .*\(file is not a database\)", done.stdout), done.stdout


def test_a_configuration_of_which_no_gateway_can_be_made_is_told_first(tmp_path: Path) -> None:
    (tmp_path / "toolway.toml").write_text('[plugins]\nenable = ["no-such-plugin"]\n')

    done = ran("doctor", "-c", "toolway.toml", where=tmp_path)

    assert done.returncode == 1
    assert "configuration" in done.stdout and "install its package" in done.stdout
    assert "correct this first" in done.stderr
