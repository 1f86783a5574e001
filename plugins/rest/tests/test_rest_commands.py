"""`toolway rest tools` shows what a document becomes, without a gateway."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from toolway_rest.commands import suggestion

PETSTORE = Path(__file__).parent / "parts/documents/petstore.yaml"
TOOLWAY = Path(sys.executable).with_name("toolway")


def run(*arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([TOOLWAY, *arguments], input=given, capture_output=True, timeout=60)


def test_a_document_on_standard_input_is_shown() -> None:
    done = run(
        "--json", "rest", "tools", "-", "--include", "tag:pets", "--exclude", "*Pet", given=PETSTORE.read_bytes()
    )

    rows = json.loads(done.stdout)
    assert [(row["name"], row["method"], row["path"]) for row in rows] == [
        ("listPets", "GET", "/pets"),
        ("showPetById", "GET", "/pets/{petId}"),
    ]
    assert rows[0]["tags"] == ["pets"] and rows[0]["bytes"] > 200
    assert b"servers that the document names: https://petstore.example/v1" in done.stderr
    assert (
        'security scheme login: credentials = { login = "env:…" }, the value is user:password' in done.stderr.decode()
    )


def test_what_cannot_be_read_is_said() -> None:
    done = run("rest", "tools", "nowhere.json")

    assert done.returncode != 0
    assert b"cannot read nowhere.json" in done.stderr


@pytest.mark.parametrize(
    ("scheme", "written"),
    [
        ({"type": "apiKey"}, 'credentials = { "a b" = "env:…" }'),
        ({"type": "oauth2", "flows": {"clientCredentials": {"tokenUrl": "https://x.example/t"}}}, "client-credentials"),
        ({"type": "openIdConnect"}, "toolway-user-oauth"),
        ({"type": "http", "scheme": "digest"}, "http digest cannot be used"),
        (3, "cannot be used"),
    ],
)
def test_each_security_scheme_gets_a_suggestion(scheme: object, written: str) -> None:
    assert written in suggestion("a b", scheme)
