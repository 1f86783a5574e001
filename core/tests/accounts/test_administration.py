"""Users and teams through HTTP: who may change whom."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from toolway.bundled.accounts.definitions import User
from toolway.bundled.accounts.entities import UserEntity
from toolway.errors import Forbidden
from toolway.hookspecs.api import Incoming
from toolway.hookspecs.auth import Principal, Resource
from toolway.hookspecs.permissions import Limits


async def test_the_first_user_is_made_by_the_admin_token_and_administers_from_then_on(house: Any) -> None:
    await house.add("alice", admin=True)
    alice = await house.sign_in("alice")
    assert (await alice("POST", "/users", {"name": "bob"})).status == 201
    assert [user["name"] for user in (await alice("GET", "/users")).content["items"]] == ["alice", "bob"]
    for method, body in (
        ("PUT", {"name": "alice", "enabled": False, "admin": True}),
        ("PUT", {"name": "alice"}),
        ("DELETE", None),
    ):
        refused = await house.admin(method, "/users/alice", body)
        assert (refused.status, "last enabled administrator" in refused.content["detail"]) == (409, True)


async def test_an_ordinary_user_administers_nothing(house: Any) -> None:
    await house.add("alice")
    alice = await house.sign_in("alice")
    for path in ("users", "teams", "service-accounts"):
        assert (await alice("GET", f"/{path}")).status == 403
        assert (await alice("POST", f"/{path}", {"name": "x"})).status in (403, 404)
    assert (await alice("PUT", "/users/alice", {"name": "alice", "admin": True})).status in (403, 404)
    assert (await alice("GET", "/session")).content["account"]["admin"] is False


@pytest.mark.parametrize("more", [{"id": "user:root"}, {"revision": 7}, {"teams": {"ops": "owner"}}, {"password": "x"}])
async def test_what_is_not_theirs_to_set_is_refused(house: Any, more: dict[str, Any]) -> None:
    answer = await house.admin("POST", "/users", {"name": "alice", **more})
    assert (answer.status, answer.content["code"]) == (400, "invalid_input")


async def test_a_removed_name_stays_removed(house: Any) -> None:
    await house.add("alice")
    assert (await house.admin("DELETE", "/users/alice")).status == 204
    again = await house.admin("POST", "/users", {"name": "alice"})
    assert (again.status, "never given twice" in again.content["detail"]) == (409, True)


async def test_owners_manage_their_own_team_and_no_other(house: Any) -> None:
    for name in ("alice", "bob", "carol"):
        await house.add(name)
    await house.admin("POST", "/teams", {"name": "ops", "members": {"user:alice": "owner", "user:bob": "member"}})
    await house.admin("POST", "/teams", {"name": "dev", "members": {"user:bob": "owner"}})
    alice, bob, carol = [await house.sign_in(name) for name in ("alice", "bob", "carol")]

    assert (await bob("GET", "/teams/ops/members")).content["members"] == {"user:alice": "owner", "user:bob": "member"}
    add = ("PUT", "/teams/ops/members/user:carol", {"role": "viewer"})
    assert (await bob(*add)).status in (403, 404)
    hidden, absent = await carol("GET", "/teams/ops/members"), await carol("GET", "/teams/none/members")
    assert (hidden.status, absent.status) == (404, 404)
    assert hidden.content["detail"].replace("ops", "none") == absent.content["detail"]
    assert (await alice("PUT", "/teams/dev/members/user:alice", {"role": "owner"})).status == 404

    assert (await alice(*add)).status == 204
    assert (await carol("GET", "/session")).content["account"]["teams"] == {"ops": "viewer"}
    assert (await alice("PUT", "/teams/ops/members/user:nobody", {"role": "viewer"})).status == 400
    assert (await alice("PUT", "/teams/ops/members/user:bob", {"role": "admin"})).status == 400
    assert (await alice("DELETE", "/teams/ops/members/user:bob")).status == 204
    assert (await alice("DELETE", "/teams/ops/members/user:bob")).status == 404
    assert (await bob("GET", "/teams/ops/members")).status == 404
    assert (await alice("PUT", "/teams/ops", {"name": "ops"})).status in (403, 404)


async def test_a_change_of_members_is_a_change_of_the_team(house: Any) -> None:
    await house.add("alice")
    before = (await house.admin("POST", "/teams", {"name": "ops"})).headers["etag"]
    assert (await house.admin("PUT", "/teams/ops/members/user:alice", {"role": "owner"})).status == 204
    late = await house.admin("PUT", "/teams/ops", {"name": "ops"}, if_match=before)
    assert late.status == 412


def incoming(*actions: str, limits: Limits | None = None) -> Incoming:
    """A request of somebody who has these permissions."""

    def allowed(principal: Principal, action: str, resource: Resource) -> bool:
        return action in actions and (limits is None or limits.permit(action, resource.name, resource.server))

    request: Any = SimpleNamespace(headers={}, path_params={})
    return Incoming(request, allowed, lambda action, name: Resource(name), Principal("user:u", limits=limits))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, User(name="a", admin=True)),
        (User(name="a"), User(name="a", admin=True)),
        (User(name="a", admin=True), User(name="a", admin=True, provider="ldap")),
        (User(name="a", admin=True), User(name="a")),
        (User(name="a", admin=True), None),
    ],
)
def test_nobody_makes_or_changes_an_administrator_without_being_one(before: Any, after: Any) -> None:
    entity = UserEntity()
    narrow = Limits(scopes=("users:write:*",))
    for asking in (incoming("users:write"), incoming("users:write", "admin:write", limits=narrow)):
        with pytest.raises(Forbidden):
            entity.guard(asking, before, after)
    entity.guard(incoming("users:write", "admin:write"), before, after)


def test_whoever_may_change_users_changes_those_who_are_no_administrators() -> None:
    UserEntity().guard(incoming("users:write"), User(name="a"), User(name="a", enabled=False))
