"""The pages in the browser: what they say and let through, and that links, forms and answers are good for once."""

from __future__ import annotations

import asyncio
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from clocks import Ahead
from house import SECRET, House, OpenHouse, Provider, settings
from person import Page, Person
from sayings import saying
from tracker import Tracker

from toolway_testing.gateway import StartGateway

OVER = "This link was used or is older than ten minutes"


def cookie_of(page: Page) -> str:
    return page.headers["set-cookie"]


async def test_the_page_names_upstream_issuer_scopes_and_account(house: House) -> None:
    async with Person() as person:
        page = await person.get(await house.link("alice"))

    for name in ("tracker", house.upstream.issuer, "mcp:read", "offline_access", "user:alice"):
        assert re.search(rf"<(dd|strong)>[^<]*{re.escape(name)}", page.text), name
    assert '<form method="post"' in page.text


async def test_the_page_runs_no_script_is_not_framed_and_sets_no_cookie(house: House) -> None:
    async with Person() as person:
        page = await person.get(await house.link("alice"))

    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; form-action 'self'; frame-ancestors 'none'")
    assert (page.headers["cache-control"], page.headers["x-frame-options"]) == ("no-store", "DENY")
    assert "<script" not in page.text
    assert "set-cookie" not in page.headers


async def test_what_was_declared_is_shown_as_text(
    gateway: StartGateway, provider: Provider, upstream: Tracker, people: None
) -> None:
    hostile = '<script>alert("x")</script>'
    options = settings(provider, upstream, {"scopes": [hostile]})
    options["upstreams"][0]["description"] = hostile
    house = House(await gateway(**options), upstream, provider.gateway)

    async with Person() as person:
        page = await person.get(await house.link("lister"))

    assert "<script" not in page.text
    assert page.text.count("&lt;script&gt;") == 2


async def test_the_state_cookie_comes_after_consent_for_this_host_and_this_browser_only(house: House) -> None:
    async with Person() as person:
        left = await person.consent(await house.link("alice"))

    assert re.match(r"__Host-user-oauth-[0-9a-f]{16}=[\w-]{43}; ", cookie_of(left))
    attributes = {part.strip().lower() for part in cookie_of(left).split(";")[1:]}
    assert {"httponly", "secure", "samesite=lax", "path=/", "max-age=600"} == attributes


async def test_the_way_to_the_server_has_pkce_the_resource_and_our_exact_address(house: House) -> None:
    async with Person() as person:
        left = await person.consent(await house.link("alice"))

    asked = parse_qs(urlsplit(left.onward).query)
    assert asked["redirect_uri"] == [f"{house.url}/user-oauth/callback"]
    assert (asked["code_challenge_method"], len(asked["code_challenge"][0])) == (["S256"], 43)
    assert (asked["resource"], asked["response_type"]) == ([house.upstream.url], ["code"])
    assert "secret" not in left.onward


async def test_looking_at_a_link_uses_nothing_up(house: House) -> None:
    link = await house.link("alice")
    async with Person(base=house.url) as person:
        for _ in range(3):
            assert (await person.get(link)).status == 200

        assert "Connected" in (await person.connect(link)).text


async def test_a_link_is_good_for_one_of_twenty(house: House) -> None:
    link = await house.link("alice")
    async with Person() as person:
        asked = await person.get(link)
        form = {**asked.fields, "credential": "is-alice"}

        pages = await asyncio.gather(*(person.post(link, form) for _ in range(20)))
        later = await person.get(link)

    assert sorted(page.status for page in pages) == [200] + [410] * 19
    assert (later.status, OVER in later.text) == (410, True)


async def test_links_are_over_after_ten_minutes(house: House) -> None:
    link = await house.link("alice")
    house.gate.gateway.kernel.clock = Ahead(601)

    async with Person() as person:
        page = await person.get(link)

    assert (page.status, OVER in page.text) == (410, True)


@pytest.mark.parametrize(
    "change", [lambda link: link[:-3] + "AAA", lambda link: link[:60], lambda link: link + "%C3%A9"]
)
async def test_links_that_were_never_given_out_lead_nowhere(house: House, change: object) -> None:
    link = await house.link("alice")
    async with Person() as person:
        page = await person.get(change(link))  # type: ignore[operator]

    assert (page.status, OVER in page.text) == (410, True)


@pytest.mark.parametrize(
    ("credential", "status"),
    [("", 401), ("is", 401), ("is-bob", 403), ("is-alice+once", 403), ("\u00e9", 401), ("x\r\ny", 401)],
)
async def test_a_link_is_of_no_use_to_somebody_else(house: House, credential: str, status: int) -> None:
    link = await house.link("alice")
    async with Person(base=house.url) as person:
        form = (await person.get(link)).fields

        refused = await person.post(link, {**form, "credential": credential})

        assert refused.status == status
        assert "Connected" in (await person.connect(link)).text, "it is not used up"


async def test_with_links_as_proof_no_credential_is_asked_for(open_house: OpenHouse) -> None:
    house = await open_house(plugins={"user-oauth": {"proof": "link"}})
    link = await house.link("alice")

    async with Person(credential="", base=house.url) as person:
        page = await person.get(link)
        done = await person.connect(link)

    assert "credential" not in page.text
    assert "Connected" in done.text


@pytest.mark.parametrize(
    "headers", [{"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}]
)
async def test_forms_of_other_sites_are_refused(house: House, headers: dict[str, str]) -> None:
    link = await house.link("alice")
    async with Person() as person:
        form = {**(await person.get(link)).fields, "credential": "is-alice"}

        assert (await person.post(link, form, headers)).status == 403


async def test_what_was_shown_for_another_link_is_not_what_was_consented_to(house: House) -> None:
    one, two = await house.link("alice"), await house.link("alice")
    async with Person() as person:
        shown = (await person.get(one)).fields

        swapped = await person.post(two, {**shown, "credential": "is-alice"})
        bare = await person.post(two, {"credential": "is-alice"})

    assert (swapped.status, bare.status) == (410, 410)


async def test_the_answer_counts_only_in_the_browser_that_consented_and_once(house: House) -> None:
    async with Person(base=house.url) as person, Person(base=house.url) as thief:
        back = await person.sign_in((await person.consent(await house.link("alice"))).onward)

        stolen = await thief.get(back)
        done = await person.get(back)
        again = await person.get(back)

    assert (stolen.status, "another browser" in stolen.text) == (410, True)
    assert (done.status, again.status) == (200, 410)
    assert "Max-Age=0" in cookie_of(done)


@pytest.mark.parametrize("iss", ["", "http://127.0.0.1:1", "https://evil.example"])
async def test_answers_of_another_server_are_refused(house: House, iss: str) -> None:
    before = house.gate.gateway.kernel.parts["user-oauth"]
    async with Person(base=house.url) as person:
        back = await person.sign_in((await person.consent(await house.link("alice"))).onward)
        wrong = re.sub(r"iss=[^&]*", f"iss={iss}" if iss else "", back)

        page = await person.get(wrong)

    assert (page.status, "another authorization server" in page.text) == (502, True)
    assert house.gate.gateway.kernel.parts["user-oauth"] is before


async def test_a_person_who_declines_there_is_told_so(house: House) -> None:
    async with Person(base=house.url) as person:
        left = await person.consent(await house.link("alice"))
        state = parse_qs(urlsplit(left.onward).query)["state"][0]
        no = f"{house.url}/user-oauth/callback?state={state}&error=access_denied&iss={house.upstream.issuer}"

        page = await person.get(no)

    assert (page.status, "access_denied" in page.text) == (403, True)


@pytest.mark.parametrize(
    "query", ["", "?state=x&code=y", "?state=%FF&code=%00", "?state=a%0d%0aSet-Cookie:%20x=y&code=y"]
)
async def test_answers_to_nothing_lead_nowhere(house: House, query: str) -> None:
    async with Person() as person:
        page = await person.get(f"{house.url}/user-oauth/callback{query}")

    assert page.status in (400, 410)


async def test_a_code_that_the_server_does_not_know_connects_nothing(house: House) -> None:
    async with Person(base=house.url) as person:
        back = await person.sign_in((await person.consent(await house.link("alice"))).onward)

        page = await person.get(re.sub(r"code=[^&]*", "code=wrong", back))

    assert (page.status, "invalid_grant" in page.text) == (502, True)
    assert (await house.whoami("alice")).content["error"]["data"]["code"] == "consent_needed"


async def test_a_page_never_has_a_secret_that_the_server_says(
    gateway: StartGateway, provider: Provider, upstream: Tracker, people: None
) -> None:
    async with saying() as server, Person(base=provider.gateway) as person:
        server.failures["/token"] = {"error": SECRET}
        gate = await gateway(**settings(provider, upstream, auth={"issuer": server.origin, "discover_as": ""}))
        left = await person.consent(await House(gate, upstream, provider.gateway).link("alice"))
        state = parse_qs(urlsplit(left.onward).query)["state"][0]

        page = await person.get(f"{provider.gateway}/user-oauth/callback?state={state}&code=any&iss={server.origin}")

    assert (page.status, "answered 400 [redacted]" in page.text, SECRET in page.text) == (502, True, False)
