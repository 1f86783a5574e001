"""Tokens at rest and in use: sealed, refreshed in time and by one, forgotten when that is refused."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from clocks import Ahead
from house import House, OpenHouse, Provider
from hypothesis import given, strategies as st
from sqlalchemy import update
from sqlmodel import col, select
from tracker import tracker

from toolway.hookspecs.auth import ANONYMOUS, GATEWAY, Principal
from toolway.hookspecs.routing import Upstream
from toolway.plugin import StoreUnavailable, Unauthenticated, UpstreamError
from toolway_testing.polling import eventually
from toolway_user_oauth.auth import OAuthUser
from toolway_user_oauth.connections import Connection, Connections
from toolway_user_oauth.errors import ConsentNeeded
from toolway_user_oauth.grants import Grants, Tokens
from toolway_user_oauth.models import ConnectionRow
from toolway_user_oauth.server import AuthorizationServer
from toolway_user_oauth.wallet import Wallet


def parts_of(house: House) -> tuple[Any, Upstream]:
    kernel: Any = house.gate.gateway.kernel
    return kernel, kernel.catalog.snapshot.upstreams["tracker"].upstream


def a_node(house: House) -> tuple[Wallet, Connections, Upstream]:
    """What another node would have: its own memory, the same database."""
    kernel, upstream = parts_of(house)
    connections = Connections(kernel)
    return Wallet(kernel, connections, Grants(kernel)), connections, upstream


async def found(connections: Connections, who: str, upstream: Upstream) -> Connection:
    connection = await connections.find(who, upstream)
    assert connection is not None
    return connection


@pytest_asyncio.fixture
async def connected(database: dict[str, str], open_house: OpenHouse) -> House:
    """Only `user:alice` is connected, so that nobody else refreshes; once with SQLite, once with PostgreSQL."""
    house = await open_house(**database)
    await house.connect("alice")
    assert (await house.gate.api("DELETE", "/connections/tracker", token="is-lister")).status == 200
    return house


async def test_tokens_are_refreshed_before_they_end_by_one_of_many_on_two_nodes(
    connected: House, provider: Provider
) -> None:
    (one, connections, upstream), (two, *_) = a_node(connected), a_node(connected)
    before, asked = await found(connections, "user:alice", upstream), provider.requests("/token")
    connected.gate.gateway.kernel.clock = Ahead(245)  # of 300 seconds

    all_of_them = await asyncio.gather(*(wallet.connection("user:alice", upstream) for wallet in [one, two] * 10))

    tokens = {each.tokens.access_token for each in all_of_them if each is not None}
    assert (len(tokens), before.tokens.access_token in tokens) == (1, False)
    assert provider.requests("/token") - asked == 1
    after = await found(connections, "user:alice", upstream)
    assert (after.revision, after.connected_at) == (before.revision + 1, before.connected_at)
    assert after.tokens.refresh_token != before.tokens.refresh_token


async def test_tokens_that_are_still_good_go_on_while_their_server_is_away(
    connected: House, provider: Provider
) -> None:
    wallet, connections, upstream = a_node(connected)
    before = await found(connections, "user:alice", upstream)

    connected.gate.gateway.kernel.clock = Ahead(245)
    provider.fail("/token", 503, 1)
    still = await wallet.connection("user:alice", upstream)
    connected.gate.gateway.kernel.clock = Ahead(301)
    provider.fail("/token", 503, 1)
    with pytest.raises(UpstreamError):
        await wallet.connection("user:alice", upstream)

    assert still == before
    after = await wallet.connection("user:alice", upstream)
    assert after is not None and after.tokens.access_token != before.tokens.access_token


async def test_tokens_whose_refresh_is_refused_are_forgotten_and_the_client_is_asked_anew(connected: House) -> None:
    wallet, connections, upstream = a_node(connected)
    old = await found(connections, "user:alice", upstream)
    await connections.renew(old, upstream, msgspec.structs.replace(old.tokens, refresh_token="gone", expires_at=1.0))

    assert await wallet.connection("user:alice", upstream) is None
    assert await connections.row("user:alice", "tracker") is None
    answer = await connected.whoami("alice")
    assert answer.content["error"]["data"]["code"] == "consent_needed"


async def test_tokens_of_other_people_are_not_touched_by_that(connected: House) -> None:
    await connected.connect("bob", "bob")
    wallet, connections, upstream = a_node(connected)
    old = await found(connections, "user:alice", upstream)
    await connections.renew(old, upstream, msgspec.structs.replace(old.tokens, refresh_token="gone", expires_at=1.0))

    await asyncio.gather(*(wallet.connection(who, upstream) for who in ("user:alice", "user:bob")))

    assert await connections.row("user:bob", "tracker") is not None


async def test_what_was_ended_while_it_was_refreshed_stays_ended(connected: House, provider: Provider) -> None:
    wallet, connections, upstream = a_node(connected)
    old, revoked = await found(connections, "user:alice", upstream), provider.requests("/token/revocation")
    await connections.end("user:alice", "tracker", "user:alice")

    renewed = await wallet._refresh(old, upstream, refused=True)

    assert renewed is None
    assert await connections.row("user:alice", "tracker") is None
    assert provider.requests("/token/revocation") == revoked + 2


@pytest.mark.parametrize(("failures", "seconds"), [(2, 0.0), (1, 60.0)], ids=["a moment", "a minute"])
async def test_what_a_refresh_got_is_not_lost_when_the_database_is_away_just_then(
    connected: House, provider: Provider, monkeypatch: pytest.MonkeyPatch, failures: int, seconds: float
) -> None:
    kernel, upstream = parts_of(connected)
    kernel.clock = clock = Ahead(245)  # of 300 seconds
    grants, connections, asked = Grants(kernel), Connections(kernel), provider.requests("/token")
    wallet, refresh, write = Wallet(kernel, connections, grants), grants.refresh, kernel.database.write
    left = [None] * failures

    def failing() -> Any:
        if left:
            left.pop()
            clock.seconds += seconds
            raise StoreUnavailable("the database is away")
        return write()

    async def refresh_just_before(*given: Any, **options: Any) -> Tokens:
        tokens = await refresh(*given, **options)
        monkeypatch.setattr(kernel.database, "write", failing)
        return tokens

    monkeypatch.setattr(grants, "refresh", refresh_just_before)
    before = await found(connections, "user:alice", upstream)
    with contextlib.suppress(StoreUnavailable):
        await wallet.connection("user:alice", upstream)
    after = await wallet.connection("user:alice", upstream)

    assert after is not None and after.tokens.refresh_token != before.tokens.refresh_token
    assert after.revision == before.revision + 1
    assert provider.requests("/token") - asked == 1


async def test_tokens_that_were_written_although_the_database_said_nothing_are_not_given_back(
    connected: House, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    wallet, connections, upstream = a_node(connected)
    old, revoked = await found(connections, "user:alice", upstream), provider.requests("/token/revocation")
    renew, lost = wallet._connections.renew, [StoreUnavailable("the connection was closed")]

    async def renew_and_fail(*given: Any) -> bool:
        is_written = await renew(*given)
        if lost:
            raise lost.pop()
        return is_written

    monkeypatch.setattr(wallet._connections, "renew", renew_and_fail)
    renewed = await wallet._refresh(old, upstream, refused=True)

    assert renewed is not None and renewed.revision == old.revision + 1
    assert provider.requests("/token/revocation") == revoked


async def test_only_discovery_uses_the_account_that_is_meant_for_it(house: House) -> None:
    await house.connect("alice")
    wallet, connections, upstream = a_node(house)
    auth = OAuthUser(wallet)
    lister = await found(connections, "user:lister", upstream)

    discovery = await auth.headers(upstream, GATEWAY, None)
    alices = await auth.headers(upstream, Principal("user:alice"), None)

    assert discovery == {"authorization": f"Bearer {lister.tokens.access_token}"}
    assert alices.keys() == discovery.keys() and alices != discovery
    for principal in (ANONYMOUS, Principal("gateway", "anonymous")):
        with pytest.raises(Unauthenticated):
            await auth.headers(upstream, principal, None)
    for principal in (Principal("user:bob"), Principal("gateway"), Principal("user:Alice"), Principal("")):
        with pytest.raises(ConsentNeeded):
            await auth.headers(upstream, principal, None)


async def test_rows_of_somebody_else_or_for_another_upstream_do_not_open(connected: House) -> None:
    _, connections, upstream = a_node(connected)
    kernel, _ = parts_of(connected)
    async with kernel.database.write() as tx:
        row = (await tx.session.exec(select(ConnectionRow).where(col(ConnectionRow.principal) == "user:alice"))).one()
        copy = {**row.model_dump(), "principal": "user:mallory"}
        tx.session.add(ConnectionRow(**copy))
    elsewhere = msgspec.structs.replace(
        upstream, endpoints=(msgspec.structs.replace(upstream.endpoints[0], id="http://127.0.0.1:1/mcp"),)
    )

    assert await connections.find("user:mallory", upstream) is None
    assert await connections.find("user:alice", elsewhere) is None
    assert await connections.find("user:alice", upstream) is not None


async def test_another_issuer_in_the_row_opens_nothing(connected: House) -> None:
    _, connections, upstream = a_node(connected)
    kernel, _ = parts_of(connected)
    async with kernel.database.write() as tx:
        await tx.session.exec(update(ConnectionRow).values(issuer="https://evil.example"))

    assert await connections.find("user:alice", upstream) is None


async def test_an_upstream_that_names_another_server_later_does_not_get_the_secret_sent_there(house: House) -> None:
    _, connections, upstream = a_node(house)

    with pytest.raises(UpstreamError, match=r"another authorization server than before; set auth\.issuer"):
        await connections.pin(upstream, "https://evil.example")
    await connections.pin(upstream, house.upstream.issuer)


async def test_nothing_of_a_token_is_readable_in_the_database_or_in_the_log(
    house: House, caplog: pytest.LogCaptureFixture, tmp_path: Any
) -> None:
    await house.connect("alice")
    await house.whoami("alice")
    _, connections, upstream = a_node(house)
    connection = await found(connections, "user:alice", upstream)

    with sqlite3.connect(tmp_path / "data/toolway.db") as database:
        dump = "\n".join(database.iterdump())
    database.close()

    for secret in (connection.tokens.access_token, connection.tokens.refresh_token, "gateway-secret"):
        assert secret not in dump
        assert secret not in caplog.text
        assert secret not in repr(connection)


async def test_known_tokens_go_on_while_the_database_is_away(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await house.connect("alice")
    kernel, upstream = parts_of(house)
    wallet, *_ = a_node(house)
    known = await wallet.connection("user:alice", upstream)

    monkeypatch.setattr(type(kernel.database), "read", _away)
    kernel.catalog.snapshot.parts["user-oauth"] = object()

    assert await wallet.connection("user:alice", upstream) == known
    with pytest.raises(StoreUnavailable):
        await wallet.connection("user:bob", upstream)
    kernel.clock = Ahead(3700)
    with pytest.raises(StoreUnavailable):
        await wallet.connection("user:alice", upstream)
    monkeypatch.undo()


def _away(database: object) -> Any:
    raise StoreUnavailable("the database is away")


async def test_short_lives_are_refreshed_while_calls_go_on(hasty_provider: Provider, open_house: OpenHouse) -> None:
    async with tracker(hasty_provider.issuer) as behind:
        house = await open_house(hasty_provider, behind)
        await house.connect("alice")
        asked = hasty_provider.requests("/token")

        async def is_renewed() -> bool:
            answer = await house.whoami("alice")
            assert "result" in answer.content, answer.content
            return hasty_provider.requests("/token") > asked

        await eventually(is_renewed)


SERVER = AuthorizationServer("https://a.example", "https://a.example/a", "https://a.example/t")


@given(st.text(max_size=50), st.text(max_size=50))
def test_tokens_are_never_shown(access: str, refresh: str) -> None:
    shown = repr(Tokens(f"access-{access}", f"refresh-{refresh}", 0.0, 0.0, (), (), SERVER))
    assert "access-" not in shown
    assert "refresh-" not in shown
