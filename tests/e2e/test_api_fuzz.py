"""The whole API under generated requests, as an administrator, of a gateway with every plugin that has operations.

What is generated are addresses and programs, too. It all happens in a network of its own that has loopback only. No
program is started for anybody: upstreams of kind `stdio` are not in the schema of the API, and an import refuses them
unless `plugins.transfer.allow_programs` says otherwise, which it does not here. No file is read or written that a
request names: the API takes documents of REST upstreams by URL only. Left out is what has no operation: backups and
`stdio` upstreams belong to whoever has the machine.

More examples, and others: TOOLWAY_TEST_API_EXAMPLES=1000 TOOLWAY_TEST_API_SEED=1 pytest --timeout 0 and this file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import loopback
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

EXAMPLES = os.environ.get("TOOLWAY_TEST_API_EXAMPLES", "6")
SEED = os.environ.get("TOOLWAY_TEST_API_SEED", "0")
TESTS = Path(__file__).resolve().parents[1]
PROGRAM = TESTS / "servers/api_fuzz.py"
OUT_OF_REACH = {
    "DELETE /api/v1/connections/{name}": "an account has to be connected by a person with a browser",
    "GET /user-oauth/callback": "a browser comes from an authorization server",
    "POST /user-oauth/connect/{ticket}": "the form of the page",
}
"""Operations that cannot succeed here; plugins/user-oauth/tests lets them."""

MOSTLY = 0.9
"""The part of all operations that has to succeed at least once: what only refuses is not tested."""


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the program found."""
    directory, report = tmp_path_factory.mktemp("gateway"), tmp_path_factory.mktemp("report") / "report.json"
    log = report.with_name("log")
    command = loopback.alone(sys.executable, str(PROGRAM), str(directory), str(report), EXAMPLES, SEED)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS / "clients"), str(TESTS.parent / "docs")])}
    with (
        log.open("wb") as output,
        subprocess.Popen(command, stdout=output, stderr=output, env=environment) as program,
    ):
        try:
            code = program.wait()
        finally:
            program.terminate()
    assert code == 0, log.read_text()[-4000:]
    return json.loads(report.read_text())


def test_no_answer_is_one_that_the_document_does_not_describe_nor_a_server_error(answered: Any) -> None:
    assert answered["failures"] == {}
    assert answered["complaints"] == []


def test_every_operation_is_asked_and_nearly_all_do_something(answered: Any) -> None:
    statuses = answered["statuses"]
    refusing = [name for name, counts in statuses.items() if not any(status.startswith("2") for status in counts)]

    assert set(statuses) == set(_operations(answered["document"]))
    assert len(set(refusing) - set(OUT_OF_REACH)) <= (1 - MOSTLY) * len(statuses), f"name what exists for {refusing}"


def test_only_public_operations_answer_without_a_credential(answered: Any) -> None:
    public = {name for name, each in _operations(answered["document"]).items() if each.get("security") == []}

    assert {name for name, status in answered["without"].items() if status != 401} - public == set()


def test_nothing_that_was_sent_was_started(answered: Any) -> None:
    assert answered["is_started"] is False


def test_every_operation_is_described(answered: Any) -> None:
    for name, each in _operations(answered["document"]).items():
        assert each["summary"].endswith("."), f"the handler of {name} has no sentence as docstring"
        missing = [parameter["name"] for parameter in each["parameters"] if not parameter.get("description")]
        assert missing == [], f"{name} does not say what these are"
        assert "application/problem+json" in each["responses"]["default"]["content"], name
        told = [status for status, answer in each["responses"].items() if status != "204" and "content" not in answer]
        assert told == [], f"{name} does not say what it answers with these"


def test_schemas_have_names_of_their_own(answered: Any) -> None:
    """Two plugins with one name for two things make names of modules of them, in every client that is generated."""
    assert [name for name in answered["document"]["components"]["schemas"] if "__" in name] == []


def _operations(document: Any) -> dict[str, Any]:
    return {
        f"{method.upper()} {path}": each
        for path, methods in document["paths"].items()
        for method, each in methods.items()
    }
