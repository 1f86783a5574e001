"""What upstreams and authorization servers say about themselves is checked before anybody is sent anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from sayings import PROTECTED, SERVER, Sayings, saying

from toolway.hookspecs.definitions import UpstreamSettings
from toolway.hookspecs.routing import Endpoint, Upstream
from toolway.plugin import UpstreamError
from toolway.plugin.http import OutgoingHttp
from toolway_testing.clock import MovedClock
from toolway_user_oauth.discovery import Discovery
from toolway_user_oauth.errors import ServerUnusable
from toolway_user_oauth.settings import UserOAuth


@pytest_asyncio.fixture
async def there() -> AsyncIterator[Sayings]:
    async with saying() as made:
        yield made


@pytest_asyncio.fixture
async def discovery() -> AsyncIterator[Discovery]:
    http = OutgoingHttp()
    yield Discovery(http, MovedClock())
    await http.close()


def upstream(url: str, *, private: bool = True, **auth: Any) -> Upstream:
    settings = UpstreamSettings(name="tracker", kind="http", allow_private=private)
    return Upstream("tracker", "http", settings, (Endpoint(url),), UserOAuth(client_id="me", **auth))


async def test_the_upstream_names_its_server(there: Sayings, discovery: Discovery) -> None:
    found = await discovery.wanted(upstream(there.url, client_secret="env:X"))

    assert found.server.token_endpoint == f"{there.origin}/token"
    assert (found.server.method, found.resources, found.scopes) == ("basic", (there.url,), ())


async def test_the_challenge_says_where_the_metadata_are_and_which_scopes_are_needed(
    there: Sayings, discovery: Discovery
) -> None:
    there.documents = {"/elsewhere": there.documents[f"{PROTECTED}/mcp"], SERVER: there.documents[SERVER]}
    there.challenge = f'Bearer realm="x", resource_metadata="{there.origin}/elsewhere", scope="read write"'

    found = await discovery.wanted(upstream(there.url), ("more",))

    assert found.scopes == ("read", "write", "more")


async def test_scopes_of_the_metadata_are_asked_for_when_nothing_else_is_said(
    there: Sayings, discovery: Discovery
) -> None:
    there.protected(scopes_supported=["a", "b", 'no"scope', ""])

    assert (await discovery.wanted(upstream(there.url))).scopes == ("a", "b")
    assert (await discovery.wanted(upstream(there.url, scopes=("mine",)))).scopes == ("mine",)


@pytest.mark.parametrize("place", ["/.well-known/oauth-authorization-server/t", "/t/.well-known/openid-configuration"])
async def test_metadata_of_an_issuer_with_a_path_are_found(there: Sayings, discovery: Discovery, place: str) -> None:
    issuer = f"{there.origin}/t"
    there.metadata(issuer=issuer)
    there.documents[place] = there.documents.pop(SERVER)

    found = await discovery.wanted(upstream(there.url, issuer=issuer))

    assert (found.server.issuer, there.asked.count("/mcp")) == (issuer, 0)


async def test_a_server_is_asked_once_in_ten_minutes(there: Sayings, discovery: Discovery) -> None:
    await asyncio.gather(*(discovery.wanted(upstream(there.url, issuer=there.origin)) for _ in range(1)))
    for _ in range(3):
        await discovery.wanted(upstream(there.url, issuer=there.origin))

    assert there.asked == [SERVER]


async def test_endpoints_that_are_declared_need_no_metadata(there: Sayings, discovery: Discovery) -> None:
    declared: dict[str, Any] = {"authorization_endpoint": f"{there.origin}/a", "token_endpoint": f"{there.origin}/t"}

    found = await discovery.wanted(upstream(there.url, **declared))

    assert (found.server.issuer, there.asked) == (there.origin, [])


HOSTILE = [
    "javascript:alert(1)",
    "file:///etc/passwd",
    "data:text/html,x",
    "http://$(id)/",
    "https://good.example/$(id)",
    "https://good.example/`id`",
    "https://good.example/;id|sh",
    "https://user:password@good.example/",
    "https://good.example\\@evil.example/",
    "https://good.example/#x",
    "https://good.example/\r\nSet-Cookie: x=y",
    'https://good.example/"><script>',
    "http://169.254.169.254/latest/meta-data",
    "http://2130706433/",
    "http://[::ffff:169.254.169.254]/",
    "//good.example/",
    "",
    "x" * 3000,
]


@pytest.mark.parametrize("url", HOSTILE)
@pytest.mark.parametrize("member", ["authorization_endpoint", "token_endpoint"])
async def test_hostile_addresses_in_metadata_are_refused(
    there: Sayings, discovery: Discovery, member: str, url: str
) -> None:
    there.metadata(**{member: url})

    with pytest.raises(ServerUnusable) as refused:
        await discovery.wanted(upstream(there.url))

    assert not url or url not in refused.value.message


@pytest.mark.parametrize("url", [each for each in HOSTILE if each])
async def test_hostile_revocation_endpoints_and_issuers_are_refused(
    there: Sayings, discovery: Discovery, url: str
) -> None:
    there.metadata(revocation_endpoint=url)
    with pytest.raises(ServerUnusable):
        await discovery.wanted(upstream(there.url))

    there.protected(authorization_servers=[url])
    with pytest.raises(UpstreamError):
        await discovery.wanted(upstream(there.url))


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/x", "http://10.0.0.1/x", "http://good.example/x", "http://[::1]/x"]
)
async def test_private_and_plain_addresses_take_an_upstream_that_may_be_private(
    there: Sayings, discovery: Discovery, url: str
) -> None:
    public = upstream("https://mcp.example/mcp", private=False, authorization_endpoint=url, token_endpoint=url)

    with pytest.raises(ServerUnusable):
        await discovery.wanted(public)


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"issuer": "https://good.example"}, "calls itself otherwise"),
        ({"issuer": None}, "lack something"),
        ({"code_challenge_methods_supported": None}, "PKCE"),
        ({"code_challenge_methods_supported": ["plain"]}, "PKCE"),
        ({"token_endpoint": 7}, "another kind"),
        ({"authorization_endpoint": ["x"]}, "another kind"),
    ],
)
async def test_metadata_that_do_not_fit_are_refused(
    there: Sayings, discovery: Discovery, changed: dict[str, Any], complaint: str
) -> None:
    there.metadata(**changed)

    with pytest.raises(ServerUnusable, match=complaint):
        await discovery.wanted(upstream(there.url))


@pytest.mark.parametrize(
    "changed",
    [
        {"resource": "https://other.example/mcp"},
        {"resource": "{origin}/other"},
        {"resource": "{origin}/mc"},
        {"resource": "not a url"},
        {"resource": None},
        {"authorization_servers": []},
        {"authorization_servers": "x"},
    ],
)
async def test_metadata_of_something_else_than_the_upstream_are_refused(
    there: Sayings, discovery: Discovery, changed: dict[str, Any]
) -> None:
    there.protected(**{name: v.format(origin=there.origin) if isinstance(v, str) else v for name, v in changed.items()})

    with pytest.raises(ServerUnusable):
        await discovery.wanted(upstream(there.url))


@pytest.mark.parametrize("named", ["https://other.example/x", "http://169.254.169.254/x", "file:///etc/passwd"])
async def test_metadata_of_the_upstream_are_its_own(there: Sayings, discovery: Discovery, named: str) -> None:
    there.challenge = f'Bearer resource_metadata="{named}"'

    with pytest.raises(ServerUnusable):
        await discovery.wanted(upstream(there.url))


@pytest.mark.parametrize("document", ["[" * 1000, "null", '"x"', "{}", "<html>", '{"issuer": ' + '"x' * 70_000])
async def test_odd_documents_are_refused(there: Sayings, discovery: Discovery, document: str) -> None:
    there.documents[SERVER] = document
    with pytest.raises(UpstreamError):
        await discovery.wanted(upstream(there.url))

    there.documents[f"{PROTECTED}/mcp"] = document
    with pytest.raises(UpstreamError):
        await discovery.wanted(upstream(there.url))
