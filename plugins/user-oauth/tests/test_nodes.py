"""Two gateways on one PostgreSQL: what one of them knows, the other knows within a second."""

from __future__ import annotations

import asyncio

import pytest
import pytest_asyncio
from house import House, OpenHouse
from person import Person

from toolway_testing.gateway import StartGateway
from toolway_testing.polling import eventually
from toolway_testing.ports import free_port

pytestmark = pytest.mark.server

Two = tuple[House, House]


@pytest_asyncio.fixture
async def nodes(postgres_url: str, open_house: OpenHouse, gateway: StartGateway) -> Two:
    """Both have the public address of the first."""
    house = await open_house(database=f"literal:{postgres_url}")
    config = house.gate.gateway.config
    other = await gateway(
        enable=config.plugins.enable,
        plugins={"user-oauth": {"patience": 10}},
        bind=f"127.0.0.1:{free_port()}",
        public_url=house.url,
        upstreams=config.upstreams,
        servers=config.servers,
        database=f"literal:{postgres_url}",
    )
    other.token = house.gate.token
    second = House(other, house.upstream, house.url)
    await second.discovered()
    return house, second


def at(house: House, url: str) -> str:
    """The same page on that node."""
    return url.replace(house.url, house.gate.url)


async def test_the_whole_way_may_lead_over_both(nodes: Two) -> None:
    one, two = nodes
    link = await two.link("alice")
    async with Person(base=one.url) as person:
        asked = await person.get(at(two, link))
        left = await person.post(at(one, link), {**asked.fields, "credential": "is-alice"})
        done = await person.get(await person.sign_in(left.onward))

    assert "Connected" in done.text

    async def is_known() -> bool:
        return "result" in (await two.whoami("alice")).content

    assert "result" in (await one.whoami("alice")).content
    await eventually(is_known, 2)


async def test_a_link_is_good_for_one_of_twenty_on_both(nodes: Two) -> None:
    one, two = nodes
    link = await one.link("alice")
    async with Person() as person:
        form = {**(await person.get(link)).fields, "credential": "is-alice"}
        pages = await asyncio.gather(*(person.post(at(node, link), form) for node in (one, two) * 10))

    assert sorted(page.status for page in pages) == [200] + [410] * 19


async def test_a_connection_that_is_ended_on_one_is_of_no_use_on_the_other(nodes: Two) -> None:
    one, two = nodes
    await one.connect("alice")

    async def works() -> bool:
        return "result" in (await two.whoami("alice")).content

    await eventually(works)
    assert (await one.gate.api("DELETE", "/connections/tracker", token="is-alice")).status == 200

    async def is_over() -> bool:
        return not await works()

    await eventually(is_over, 2)
