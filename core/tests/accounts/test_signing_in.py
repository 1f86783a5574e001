"""Signing in and out through HTTP."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from toolway.bundled.accounts.passwords import LocalVerifier

PASSWORD = "correct horse battery"
WRONG = "something else altogether"


async def test_a_page_signs_in_with_a_cookie_and_changes_need_its_csrf_token(house: Any) -> None:
    await house.add("alice", display_name="Alice")
    page = await house.sign_in("alice", bearer=False)
    cookie = page.signed_in.headers["set-cookie"]
    assert cookie.startswith("__Host-toolway-session=")
    assert [part.strip() for part in cookie.split(";")[1:]] == ["Path=/", "Secure", "HttpOnly", "SameSite=Lax"]
    assert page.signed_in.content["token"] is None

    who = await page("GET", "/session")
    assert who.content["account"]["id"] == "user:alice"
    assert who.content["account"]["display_name"] == "Alice"
    assert who.content["csrf"] == page.headers["x-csrf-token"]
    assert who.content["expires_at"] == page.signed_in.content["expires_at"]
    assert (await page("DELETE", "/session", x_csrf_token="wrong")).status == 403
    page_without = type(page)(page.gate, {"cookie": page.headers["cookie"]})
    assert (await page_without("DELETE", "/session")).status == 403
    assert (await page("GET", "/session")).status == 200

    gone = await page("DELETE", "/session")
    assert gone.status == 204
    assert "Max-Age=0" in gone.headers["set-cookie"]
    assert (await page("GET", "/session")).status == 401


async def test_a_program_signs_in_with_a_token_and_no_cookie(house: Any) -> None:
    await house.add("alice")
    alice = await house.sign_in("alice")
    assert "set-cookie" not in alice.signed_in.headers
    assert alice.signed_in.content["csrf"] is None
    assert alice.signed_in.content["token"].startswith("tws_")
    who = (await alice("GET", "/session")).content
    assert (who["credential"], who["csrf"]) == (alice.signed_in.content["credential"], None)
    assert (await alice("DELETE", "/session")).status == 204
    assert (await alice("GET", "/session")).status == 401


async def test_a_cookie_is_no_bearer_token_and_the_other_way_round(house: Any) -> None:
    await house.add("alice")
    page, program = await house.sign_in("alice", bearer=False), await house.sign_in("alice")
    value, token = page.headers["cookie"].partition("=")[2], program.signed_in.content["token"]
    assert (await house.stranger("GET", "/session", authorization=f"Bearer {value}")).status == 401
    assert (await house.stranger("GET", "/session", cookie=f"__Host-toolway-session={token}")).status == 401


async def test_every_sign_in_is_a_new_session(house: Any) -> None:
    await house.add("alice")
    first = await house.sign_in("alice", bearer=False)
    body = {"username": "alice", "password": PASSWORD}
    second = await house.stranger("POST", "/session", body, cookie=first.headers["cookie"])
    assert second.status == 201
    assert first.headers["cookie"] not in second.headers["set-cookie"]
    assert second.content["csrf"] != first.headers["x-csrf-token"]


async def test_a_stale_cookie_does_not_keep_anybody_from_signing_in(house: Any) -> None:
    await house.add("alice")
    stale = "__Host-toolway-session=tws_gone"
    assert (await house.stranger("GET", "/session", cookie=stale)).status == 401
    body = {"username": "alice", "password": PASSWORD}
    assert (await house.stranger("POST", "/session", body, cookie=stale)).status == 201


async def test_a_wrong_password_a_stranger_and_a_disabled_user_look_the_same(house: Any) -> None:
    await house.add("alice")
    await house.add("carol", enabled=False)
    await house.admin("POST", "/users", {"name": "dave", "provider": "ldap"})
    await house.admin("POST", "/users", {"name": "erin"})
    tried = [("alice", WRONG), ("bob", WRONG), ("carol", PASSWORD), ("dave", WRONG), ("erin", WRONG)]
    answers = [
        await house.stranger("POST", "/session", {"username": name, "password": password}) for name, password in tried
    ]
    assert [answer.status for answer in answers] == [401] * 5
    assert all(answer.content == answers[0].content for answer in answers)
    assert answers[0].headers["www-authenticate"].startswith("Bearer ")


async def test_guessing_is_slowed_down_and_nobody_else_is(house: Any) -> None:
    for name in ("alice", "bob"):
        await house.add(name)
    alice = await house.sign_in("alice")
    wrong = {"username": "alice", "password": WRONG}
    assert [(await house.stranger("POST", "/session", wrong)).status for _ in range(5)] == [401] * 5
    while (refused := await house.stranger("POST", "/session", wrong)).status == 401:
        pass  # on a slow machine the pause was over
    assert (refused.status, refused.content["code"]) == (429, "too_many_failures")
    assert int(refused.headers["retry-after"]) >= 1

    assert (await alice("GET", "/session")).status == 200
    assert (await house.admin("GET", "/users")).status == 200
    assert (await house.gate._send("GET", f"{house.gate.url}/health", {}, None)).status == 200
    await house.sign_in("bob")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"username": "alice", "password": "x", "admin": True}, 400),
        ({"username": "alice"}, 400),
        ({"username": "", "password": "x"}, 400),
        ({"username": "alice", "password": "x" * 1025}, 400),
        ({"username": "a\u0000", "password": "x"}, 400),
    ],
)
async def test_a_sign_in_is_read_strictly_and_no_password_comes_back(
    house: Any, body: dict[str, Any], status: int
) -> None:
    answer = await house.stranger("POST", "/session", body)
    assert answer.status == status
    assert "xxx" not in answer.content["detail"]


async def test_a_form_of_another_site_cannot_sign_anybody_in(house: Any) -> None:
    form = "username=alice&password=x"
    async with house.gate.http.post(f"{house.gate.url}/api/v1/session", data=form) as answer:
        assert answer.status == 400 or answer.status == 415
        assert "set-cookie" not in answer.headers


async def test_users_change_their_password_with_the_old_one_and_other_sessions_end(house: Any) -> None:
    await house.add("alice")
    one, other = await house.sign_in("alice"), await house.sign_in("alice", bearer=False)
    new = "a new one, quite long"
    wrong = await one("PUT", "/session/password", {"old_password": WRONG, "new_password": new})
    assert wrong.status == 403
    short = await one("PUT", "/session/password", {"old_password": PASSWORD, "new_password": "short"})
    assert short.status == 400
    body = {"old_password": PASSWORD, "new_password": new}
    assert (await one("PUT", "/session/password", body)).status == 204
    assert (await one("GET", "/session")).status == 200
    assert (await other("GET", "/session")).status == 401
    again = {"username": "alice", "password": PASSWORD}
    assert (await house.stranger("POST", "/session", again)).status == 401
    await house.sign_in("alice", password=new)


async def test_an_administrator_sets_a_password_and_the_sessions_end(house: Any) -> None:
    await house.add("alice")
    alice = await house.sign_in("alice")
    new = {"password": "\u00fcber-lange Passw\u00f6rter"}
    assert (await house.admin("PUT", "/users/nobody/password", new)).status == 404
    assert (await alice("PUT", "/users/alice/password", new)).status in (403, 404)
    assert (await house.admin("PUT", "/users/alice/password", new)).status == 204
    assert (await alice("GET", "/session")).status == 401
    await house.sign_in("alice", password=new["password"])
    await house.admin("POST", "/users", {"name": "dave", "provider": "ldap"})
    elsewhere = await house.admin("PUT", "/users/dave/password", new)
    assert (elsewhere.status, "'ldap'" in elsewhere.content["detail"]) == (400, True)


@pytest.mark.parametrize("length", [11, 129])
async def test_a_password_has_12_to_128_characters(house: Any, length: int) -> None:
    await house.add("alice")
    answer = await house.admin("PUT", "/users/alice/password", {"password": "\u00e9" * length})
    assert (answer.status, answer.content["detail"]) == (400, "password should have 12 to 128 characters")


async def test_users_see_and_end_their_own_sessions_only(house: Any) -> None:
    for name in ("alice", "bob"):
        await house.add(name)
    one, other, bob = await house.sign_in("alice"), await house.sign_in("alice"), await house.sign_in("bob")
    listed = (await one("GET", "/sessions")).content["items"]
    assert [each["current"] for each in listed] == [False, True]
    assert {each["address"] for each in listed} == {"127.0.0.1"}
    assert (await bob("DELETE", f"/sessions/{listed[0]['name']}")).status == 404
    assert (await one("DELETE", f"/sessions/{listed[0]['name']}")).status == 204
    assert (await other("GET", "/session")).status == 401
    assert (await one("GET", "/session")).status == 200
    assert (await house.admin("GET", "/sessions")).status == 403
    assert (await house.stranger("GET", "/session")).status == 401


async def test_who_is_disabled_is_out_at_once_and_stays_out_of_old_sessions(house: Any) -> None:
    await house.add("alice")
    alice = await house.sign_in("alice")
    assert (await alice("GET", "/session")).status == 200
    assert (await house.admin("PUT", "/users/alice", {"name": "alice", "enabled": False})).status == 200
    assert (await alice("GET", "/session")).status == 401
    await house.admin("PUT", "/users/alice", {"name": "alice"})
    assert (await alice("GET", "/session")).status == 401
    await house.sign_in("alice")


async def test_the_local_admin_has_no_account_and_no_session(house: Any) -> None:
    who = (await house.admin("GET", "/session")).content
    assert (who["account"]["id"], who["account"]["admin"], who["expires_at"]) == ("admin", True, None)
    assert (await house.admin("DELETE", "/session")).status == 400
    body = {"old_password": WRONG, "new_password": WRONG}
    assert (await house.admin("PUT", "/session/password", body)).status == 403


async def test_secrets_are_neither_logged_nor_stored(
    house: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "toolway")
    await house.add("alice")
    page, program = await house.sign_in("alice", bearer=False), await house.sign_in("alice")
    await house.stranger("POST", "/session", {"username": "alice", "password": WRONG})
    secrets = [
        PASSWORD,
        WRONG,
        program.signed_in.content["token"][4:],
        page.headers["cookie"].partition("=")[2][4:],
    ]
    kept = contents(tmp_path)
    assert [secret for secret in secrets if secret in caplog.text or secret.encode() in kept] == []


def contents(directory: Path) -> bytes:
    return b"".join(file.read_bytes() for file in directory.rglob("*") if file.is_file())


async def test_the_value_of_a_cookie_is_good_in_no_header(house: Any) -> None:
    """A page's cookie cannot be read by the page; as a header it would need no CSRF token, and open servers."""
    await house.add("alice")
    page = await house.sign_in("alice", bearer=False)
    value = page.headers["cookie"].partition("=")[2]
    headers = {"authorization": f"Session {value}"}

    for _ in range(2):
        assert (await house.stranger("GET", "/session", **headers)).status == 401
        assert (await house.gate.mcp("tools/list", headers=headers)).status == 401
        assert (await page("GET", "/session")).status == 200


async def test_a_sign_in_that_began_with_the_old_password_does_not_outlive_it(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.add("alice")
    verified, go_on = asyncio.Event(), asyncio.Event()
    verify = LocalVerifier.verify

    async def slowly(self: LocalVerifier, username: str, password: str) -> Any:
        found = await verify(self, username, password)
        verified.set()
        await go_on.wait()
        return found

    monkeypatch.setattr(LocalVerifier, "verify", slowly)
    body = {"username": "alice", "password": PASSWORD, "bearer": True}
    signing_in = asyncio.create_task(house.stranger("POST", "/session", body))
    await verified.wait()
    assert (await house.admin("PUT", "/users/alice/password", {"password": "another horse battery"})).status == 204
    go_on.set()

    assert (await signing_in).status == 401
    assert (await house.stranger("POST", "/session", {**body, "password": "another horse battery"})).status == 201


async def test_a_credential_comes_once(house: Any) -> None:
    bearer = house.admin.headers["authorization"]
    url, headers = f"{house.gate.url}/api/v1/session", [("Authorization", bearer), ("Authorization", bearer)]
    async with house.gate.http.get(url, headers=headers) as answer:
        assert answer.status == 400


async def test_the_trail_tells_who_signs_in_and_out_and_who_fails_to(house: Any, caplog: Any) -> None:
    await house.add("alice")
    with caplog.at_level("INFO", "toolway.audit"):
        alice = await house.sign_in("alice")
        await house.stranger("POST", "/session", {"username": "alice", "password": WRONG})
        await alice("DELETE", "/session")

    told = [json.loads(record.message) for record in caplog.records if record.name == "toolway.audit"]
    assert [(each["actor"], each["action"]) for each in told] == [
        ("user:alice", f"sessions.{action}") for action in ("create", "refuse", "delete")
    ]
    assert {each["address"] for each in told} == {"127.0.0.1"}
    assert WRONG not in caplog.text
