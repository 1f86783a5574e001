"""What the schema of roles and bindings says is what is taken."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator
from pydantic import TypeAdapter, ValidationError

from toolway_rbac.definitions import PermissionText, Subject

PERMISSIONS = ("admin:*", "tools:call:billing/*", "servers:*:*", "tools:call", "tools:call:", "tools:call:a b", "")
SUBJECTS = ("*", "anonymous", "user:alice", "team:ops", "group:Domain Admins", "group: ", "user:", "alice", "")


@pytest.mark.parametrize(
    ("kind", "written"), [*((PermissionText, each) for each in PERMISSIONS), *((Subject, each) for each in SUBJECTS)]
)
def test_the_schema_says_how_permissions_and_subjects_are_written(kind: Any, written: str) -> None:
    adapter = TypeAdapter(kind)
    try:
        is_taken = adapter.validate_python(written) == written
    except ValidationError:
        is_taken = False

    assert Draft202012Validator(adapter.json_schema()).is_valid(written) == is_taken
