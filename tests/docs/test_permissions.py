"""The page of permissions has everything that may be granted, as the gateway has it now."""

import re

import permissions_page
import pytest

from toolway.hookspecs.permissions import ITEM_ACTIONS
from toolway_rbac.definitions import BUILTIN_ROLES, MANAGE
from toolway_rbac.vocabulary import CONNECT
from toolway_testing.gateway import StartGateway


@pytest.fixture(scope="module")
def rows() -> dict[str, str]:
    """What the page says of each action and role."""
    return dict(re.findall(r"^\| `([^`]+)` \| (.*) \|$", permissions_page.permissions_page(), re.MULTILINE))


async def test_every_action_is_described_with_the_operations_that_ask_for_it(
    gateway: StartGateway, rows: dict[str, str]
) -> None:
    gate = await gateway(enable=permissions_page.enabled())
    asked = [one for one in gate.gateway.kernel.operations if ":" in one.permission]

    assert asked
    assert [one.name for one in asked if f"`{one.name}`" not in rows[one.permission]] == []


def test_what_no_operation_asks_for_is_described_too(rows: dict[str, str]) -> None:
    assert sorted({*ITEM_ACTIONS, CONNECT, MANAGE} - set(rows)) == []


def test_nothing_is_described_that_nothing_asks_for(rows: dict[str, str]) -> None:
    known = {one.permission for one in permissions_page.operations()} | {*ITEM_ACTIONS, CONNECT, MANAGE}

    assert sorted(set(rows) - known - set(BUILTIN_ROLES)) == []


def test_every_builtin_role_is_described_with_its_permissions(rows: dict[str, str]) -> None:
    for role in BUILTIN_ROLES.values():
        assert [each for each in role.permissions if f"`{each}`" not in rows[role.name]] == []
