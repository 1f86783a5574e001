"""The collections `upstreams` and `servers`: what is stored, what is shown, and what is refused."""

import json
from typing import Any, Literal

import pytest
from pydantic import Field
from sqlmodel import select

from toolway.bundled.api.hiding import hidden
from toolway.bundled.defaults.references import EnvironmentScheme, FileScheme, LiteralScheme
from toolway.bundled.registry.credentials import SealedScheme
from toolway.bundled.registry.entities import ServerEntity, UpstreamEntity
from toolway.bundled.registry.models import UpstreamRow
from toolway.bundled.upstreams.auth import BasicProvider, BearerProvider, HeaderProvider
from toolway.bundled.upstreams.http import HttpKind
from toolway.bundled.upstreams.stdio import StdioKind
from toolway.catalog.definitions import Definitions
from toolway.catalog.store import Store
from toolway.errors import Conflict, InvalidInput, NotFound, SecretUnavailable
from toolway.hookspecs.definitions import HIDDEN, Definition, SecretRef, UpstreamSettings
from toolway.hookspecs.routing import Desired, Endpoint
from toolway.hookspecs.secrets import Secret
from toolway.keyring import KeyRing
from toolway.plugin import Clock
from toolway.plugin.http import OutgoingHttp
from toolway.secrets import SecretResolver

RING = KeyRing([(b"newest", b"1" * 32)])
URL = "https://mcp.example.com/mcp"


class PeerSettings(UpstreamSettings):
    """A kind of a plugin, with a secret of its own."""

    kind: Literal["peer"] = "peer"
    invitation: SecretRef | None = None
    region: str = "eu"


class SignedAuth(Definition):
    """An auth type of a plugin: not every text in it is a secret."""

    audience: str
    key: SecretRef
    extra: dict[str, SecretRef] = Field({}, description="More of them.")


class Named:
    """Stands for a provider of which only the settings and endpoints are asked."""

    def __init__(self, settings: Any, file_only: bool = False) -> None:
        self.settings, self.file_only, self.kind = settings, file_only, "peer"

    def endpoints(self, settings: UpstreamSettings) -> tuple[Endpoint, ...]:
        return (Endpoint("local"),)


class Vault:
    """A scheme of a plugin."""

    scheme = "vault"

    async def resolve(self, reference: str) -> Secret:
        return Secret(f"value of {reference}")


class Collections:
    """Both collections on one database."""

    def __init__(self, store: Store, clock: Clock) -> None:
        kernel: Any = self
        self.seal, self.api_references, self.catalog = RING, ("env",), self
        self.configured = Desired()
        secrets = SecretResolver(clock)
        secrets.use([EnvironmentScheme(), FileScheme(clock), LiteralScheme(), SealedScheme(kernel), Vault()])
        self.store, self.secrets = store, secrets
        kinds: Any = {
            "http": HttpKind(OutgoingHttp(), secrets),
            "stdio": StdioKind(secrets),
            "peer": Named(PeerSettings),
        }
        auths: Any = {provider.type: provider for provider in (BearerProvider, BasicProvider, HeaderProvider)}
        auths["signed"] = Named(SignedAuth)
        self.definitions = Definitions(kinds, auths)
        self.upstreams, self.servers = UpstreamEntity(kernel), ServerEntity(kernel)

    async def put(self, **body: Any) -> None:
        value = self.upstreams.schema.validate_python({"name": "a", **body})
        async with self.store.change("catalog", "u1", "put", "a") as tx:
            await self.upstreams.put(tx, value)

    async def raw(self) -> dict[str, Any]:
        async with self.store.read() as tx:
            found: dict[str, Any] = json.loads((await tx.session.exec(select(UpstreamRow))).one().settings)
            return found

    async def shown(self) -> dict[str, Any]:
        async with self.store.read() as tx:
            stored = await self.upstreams.get(tx, "a")
        assert stored is not None
        value: dict[str, Any] = hidden(stored.value.model_dump(mode="json"))
        return value

    async def revision(self) -> int:
        async with self.store.read() as tx:
            [stored] = await self.upstreams.list(tx)
            return stored.revision


def at(value: Any, path: tuple[str, ...]) -> str:
    for key in path:
        value = value[key]
    return str(value)


@pytest.fixture
def collections(store: Store, clock: Clock) -> Collections:
    return Collections(store, clock)


async def test_an_upstream_comes_back_as_it_was_put(collections: Collections) -> None:
    await collections.put(endpoints=[URL], retries=1, auth={"type": "bearer", "token": "env:TOKEN"})
    raw = await collections.raw()
    assert raw["auth"] == {"type": "bearer", "token": "env:TOKEN"}
    shown = await collections.shown()
    assert (shown["endpoints"], shown["retries"], shown["auth"]["token"]) == ([URL], 1, "env:TOKEN")


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"auth": {"type": "bearer", "token": "hunter2"}}, ("auth", "token")),
        ({"auth": {"type": "bearer", "token": "user:hunter2"}}, ("auth", "token")),
        ({"auth": {"type": "basic", "username": "u", "password": "hunter2"}}, ("auth", "password")),
        ({"auth": {"type": "header", "name": "X-Key", "value": "hunter2"}}, ("auth", "value")),
        ({"headers": {"X-Key": "hunter2"}}, ("headers", "X-Key")),
        ({"kind": "http", "headers": {"X-Key": "hunter2"}}, ("headers", "X-Key")),
        ({"auth": {"type": "signed", "audience": "hunter", "key": "hunter2"}}, ("auth", "key")),
        (
            {"auth": {"type": "signed", "audience": "hunter", "key": "env:K", "extra": {"b": "hunter2"}}},
            ("auth", "extra", "b"),
        ),
    ],
)
async def test_a_credential_sent_as_a_value_is_stored_encrypted_and_never_shown(
    collections: Collections, body: dict[str, Any], path: tuple[str, ...]
) -> None:
    await collections.put(endpoints=[URL], **body)
    raw, shown = await collections.raw(), await collections.shown()
    assert "hunter2" not in json.dumps(raw) + json.dumps(shown)
    assert at(shown, path) == HIDDEN
    assert (await collections.secrets.get(at(raw, path))).endswith("hunter2")


@pytest.mark.parametrize("path", ["file:/etc/shadow", "file:relative", "vault:kv/path#field"])
async def test_a_reference_that_reads_what_the_gateway_can_is_refused_unless_its_scheme_is_listed(
    collections: Collections, path: str
) -> None:
    with pytest.raises(
        InvalidInput, match=r"auth.token must not be .* '(file|vault)'.*gateway.api_references"
    ) as caught:
        await collections.put(endpoints=[URL], auth={"type": "bearer", "token": path})
    assert path not in caught.value.message
    with pytest.raises(InvalidInput, match=r"headers\.X must not be"):
        await collections.put(endpoints=[URL], headers={"X": path})
    await collections.put(endpoints=[URL], auth={"type": "bearer", "token": "env:LISTED"})


async def test_the_file_may_use_every_scheme(collections: Collections) -> None:
    filed = {"name": "b", "endpoints": [URL], "auth": {"type": "bearer", "token": "file:/run/token"}}

    assert collections.definitions.settings(filed).auth.token == "file:/run/token"


async def test_a_secret_of_a_plugins_kind_is_stored_encrypted_and_other_texts_are_not(collections: Collections) -> None:
    await collections.put(kind="peer", invitation="hunter2", region="us")
    raw = await collections.raw()
    assert raw["region"] == "us"
    assert raw["invitation"].startswith("sealed:a:")


async def test_a_hidden_credential_that_is_sent_again_is_kept(collections: Collections) -> None:
    await collections.put(endpoints=[URL], auth={"type": "bearer", "token": "hunter2"}, headers={"X": "hunter3"})
    before = await collections.raw()
    shown = await collections.shown()
    await collections.put(**{**shown, "description": "changed"})
    after = await collections.raw()
    assert after["description"] == "changed"
    assert (after["auth"], after["headers"]) == (before["auth"], before["headers"])


async def test_a_hidden_credential_that_nobody_stored_is_refused(collections: Collections) -> None:
    with pytest.raises(Conflict, match=r"auth.token is shown as hidden.*send its value"):
        await collections.put(endpoints=[URL], auth={"type": "bearer", "token": HIDDEN})


async def test_a_stored_credential_opens_for_its_own_upstream_only(collections: Collections) -> None:
    await collections.put(endpoints=[URL], auth={"type": "bearer", "token": "hunter2"})
    stolen = (await collections.raw())["auth"]["token"].replace("sealed:a:", "sealed:b:")
    with pytest.raises(SecretUnavailable, match="upstream 'b'"):
        await collections.secrets.get(stolen)


async def test_a_body_with_a_mistake_is_refused_without_repeating_the_credential(collections: Collections) -> None:
    with pytest.raises(InvalidInput) as caught:
        await collections.put(endpoints=[URL], auth={"type": "bearer", "tokn": "hunter2"}, headers={"Host": "hunter2"})
    assert "hunter2" not in caught.value.message + json.dumps(caught.value.details)


async def test_kinds_that_can_start_programs_are_for_the_file_only(collections: Collections) -> None:
    with pytest.raises(InvalidInput, match="declare it in the configuration file"):
        await collections.put(kind="stdio", command=["sh"])


async def test_what_the_file_declares_is_read_only(store: Store, clock: Clock) -> None:
    collections = Collections(store, clock)
    upstream, server = UpstreamSettings(name="a", kind="http"), collections.definitions.server({"name": "a"})
    collections.configured = Desired((upstream,), (server,))
    with pytest.raises(Conflict, match="declared in the configuration file"):
        await collections.put(endpoints=[URL])
    async with store.write() as tx:
        with pytest.raises(Conflict):
            await collections.upstreams.delete(tx, "a")
        with pytest.raises(Conflict):
            await collections.servers.put(tx, server)
    async with store.read() as tx:
        assert [one.managed_by for one in await collections.servers.list(tx)] == ["file"]


async def test_a_name_that_comes_back_never_has_an_old_revision(collections: Collections) -> None:
    await collections.put(endpoints=[URL])
    await collections.put(endpoints=[URL], retries=1)
    before = await collections.revision()
    async with collections.store.change("catalog", "u1", "delete", "a") as tx:
        await collections.upstreams.delete(tx, "a")
    await collections.put(endpoints=[URL])
    assert before == 2
    assert await collections.revision() == 4


async def test_deleting_what_is_not_there_is_an_error(collections: Collections) -> None:
    async with collections.store.write() as tx:
        with pytest.raises(NotFound):
            await collections.upstreams.delete(tx, "a")


async def test_an_upstream_whose_plugin_is_gone_is_still_listed_and_tells_why_it_cannot_be_used(
    store: Store, collections: Collections
) -> None:
    async with store.write() as tx:
        settings = json.dumps({"name": "a", "kind": "gone", "address": "x"})
        tx.session.add(UpstreamRow(name="a", settings=settings, revision=1))
    await collections.put(name="b", endpoints=[URL])
    async with store.read() as tx:
        first, second = await collections.upstreams.list(tx)
    assert (first.name, second.name) == ("a", "b")
    assert first.value.model_dump(exclude_unset=True)["address"] == "x"
    with pytest.raises(InvalidInput, match="kind 'gone' is not known"):
        collections.definitions.resolve(first.value)  # type: ignore[arg-type]


async def test_a_server_comes_back_as_it_was_put(store: Store, collections: Collections) -> None:
    server = collections.definitions.server({"name": "support", "include": ["a/*"], "naming": "plain"})
    async with store.change("catalog", "u1", "put", "support") as tx:
        await collections.servers.put(tx, server)
    async with store.read() as tx:
        [stored] = await collections.servers.list(tx)
    assert (stored.value, stored.revision) == (server, 1)


def test_a_password_in_a_url_is_hidden_from_whoever_reads_it() -> None:
    read = {"endpoints": ["http://u:p@x.test/mcp", "https://x.test:1/a:b@c"], "description": "ssh://git@x.test"}

    assert hidden(read) == {**read, "endpoints": ["http://[redacted]@x.test/mcp", "https://x.test:1/a:b@c"]}
