"""Declared upstreams and servers, read against the enabled kinds and auth types; and the schema for editors."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator, meta
from pydantic import BaseModel, Field

from toolway.catalog.definitions import Definitions
from toolway.cli.schema import configuration_schema
from toolway.errors import InvalidInput
from toolway.hookspecs.definitions import Definition, SecretRef, UpstreamSettings
from toolway.hookspecs.routing import Endpoint
from toolway.plugin import Settings


class HttpSettings(UpstreamSettings):
    """An upstream reached by HTTP."""

    endpoints: tuple[str, ...] = Field(min_length=1)


class StdioSettings(UpstreamSettings):
    """An upstream that is a program."""

    command: tuple[str, ...]


class Http:
    kind, settings, file_only = "http", HttpSettings, False

    def endpoints(self, settings: Any) -> tuple[Endpoint, ...]:
        return tuple(Endpoint(url) for url in settings.endpoints)


class Stdio:
    kind, settings, file_only = "stdio", StdioSettings, True

    def endpoints(self, settings: Any) -> tuple[Endpoint, ...]:
        return (Endpoint("local"),)


class BearerSettings(Definition):
    """A fixed bearer token."""

    token: SecretRef


class Bearer:
    type, settings, per = "bearer", BearerSettings, "gateway"


class VaultSettings(Settings):
    """Settings of a plugin."""

    address: str


DEFINITIONS = Definitions({"http": Http(), "stdio": Stdio()}, {"bearer": Bearer()})  # type: ignore[dict-item]
ENDPOINTS = ["http://127.0.0.1:3001/mcp"]
GOOD = {"name": "a", "endpoints": ENDPOINTS, "auth": {"type": "bearer", "token": "env:TOKEN"}}


def as_sent(upstream: str, text: str) -> str:
    return text


def refusal(raw: dict[str, Any], **options: Any) -> str:
    with pytest.raises(InvalidInput) as caught:
        DEFINITIONS.settings(raw, **options)
    return caught.value.message


def test_an_upstream_without_a_kind_is_http_and_its_auth_is_read_by_its_type() -> None:
    upstream = DEFINITIONS.resolve(DEFINITIONS.settings(GOOD))

    assert (upstream.name, upstream.kind) == ("a", "http")
    assert upstream.endpoints == (Endpoint(ENDPOINTS[0]),)
    assert isinstance(upstream.settings, HttpSettings)
    assert isinstance(upstream.auth, BearerSettings)
    assert upstream.auth.token == "env:TOKEN"


def test_settings_survive_being_stored_as_json() -> None:
    settings = DEFINITIONS.settings(GOOD)

    again = DEFINITIONS.settings(settings.model_dump(mode="json"))

    assert again == settings
    assert DEFINITIONS.resolve(again).auth == settings.auth


def test_settings_with_raw_auth_are_read_when_they_are_resolved() -> None:
    upstream = DEFINITIONS.resolve(HttpSettings(**GOOD, kind="http"))

    assert isinstance(upstream.auth, BearerSettings)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"kind": "htp"}, "upstream 'a': kind 'htp' is not known; did you mean 'http'?"),
        ({"endpoint": []}, "upstream 'a': endpoint is not a setting; did you mean 'endpoints'?"),
        ({"endpoints": 3}, "upstream 'a': endpoints should be a list"),
        ({"timeouts": {"totl": 3}}, "upstream 'a': timeouts.totl is not a setting; did you mean 'total'?"),
        ({"auth": {"type": "baerer"}}, "upstream 'a': auth.type 'baerer' is not known; did you mean 'bearer'?"),
        ({"auth": {}}, "upstream 'a': auth must be a table with a \"type\", one of: bearer"),
        ({"auth": {"type": "bearer"}}, "upstream 'a': auth.token is missing; add it"),
        (
            {"auth": {"type": "bearer", "token": "hunter2"}, "retries": 99},
            "upstream 'a': auth.token must be a secret reference such as env:NAME or file:/path, not a value; retries ",
        ),
        ({"name": 3}, "upstream without a name: name should be a valid string"),
    ],
)
def test_a_wrong_upstream_is_refused_with_the_path_and_without_values(change: dict[str, Any], sentence: str) -> None:
    assert refusal({**GOOD, **change}).startswith(sentence)


def test_the_details_of_a_refusal_have_json_pointers() -> None:
    with pytest.raises(InvalidInput) as caught:
        DEFINITIONS.settings({**GOOD, "auth": {"type": "bearer"}})

    assert caught.value.details["errors"] == [{"pointer": "/auth/token", "detail": "auth.token is missing; add it"}]


def test_kinds_that_start_programs_are_refused_from_the_api_and_accepted_from_the_file() -> None:
    raw = {"name": "time", "kind": "stdio", "command": ["mcp-server-time"]}

    assert DEFINITIONS.resolve(DEFINITIONS.settings(raw)).endpoints == (Endpoint("local"),)
    assert refusal(raw, accept=as_sent) == (
        "upstream 'time': upstreams of kind 'stdio' can start programs; declare it in the configuration file"
    )


def test_the_api_refuses_types_that_the_environment_may_use() -> None:
    assert DEFINITIONS.settings({**GOOD, "retries": "1"}).retries == 1
    assert "retries should be a valid integer" in refusal({**GOOD, "retries": "1"}, accept=as_sent)


def test_the_adapter_validates_bodies_and_describes_what_the_api_takes() -> None:
    adapter = DEFINITIONS.schema(as_sent)

    described = adapter.json_schema()

    assert adapter.validate_json('{"name": "a", "endpoints": ["x"]}', strict=True).kind == "http"
    assert described["properties"]["kind"]["const"] == "http"
    assert "stdio" not in str(described)
    with pytest.raises(InvalidInput, match="endpoint is not a setting"):
        adapter.validate_json('{"name": "a", "endpoint": ["x"]}', strict=True)


def test_a_wrong_server_is_refused_with_the_path() -> None:
    with pytest.raises(InvalidInput, match=r"server 's': includ is not a setting; did you mean 'include'\?"):
        DEFINITIONS.server({"name": "s", "includ": ["*"]})

    assert DEFINITIONS.server({"name": "s", "include": ["a/*"]}).include == ("a/*",)


def schema_errors(value: dict[str, Any]) -> list[str]:
    plugins: dict[str, type[BaseModel]] = {"my-vault": VaultSettings}
    schema = configuration_schema(plugins, DEFINITIONS)
    meta.validate(schema)
    return [error.message for error in Draft202012Validator(schema).iter_errors(value)]


def test_the_json_schema_accepts_what_the_gateway_accepts() -> None:
    stdio = {"name": "b", "kind": "stdio", "command": ["x"]}
    config = {
        "gateway": {"bind": "127.0.0.1:1", "limits": {"body": 1024}, "allowed_hosts": ["a"]},
        "plugins": {"enable": ["my-vault"], "my-vault": {"address": "x"}, "disabled": {"anything": 1}},
        "egress": {"allow_private": ["10.0.0.0/8"]},
        "upstreams": [GOOD, stdio],
        "servers": [{"name": "s"}],
    }

    assert schema_errors(config) == []


@pytest.mark.parametrize(
    "config",
    [
        {"gatway": {}},
        {"gateway": {"bnd": "x"}},
        {"plugins": {"my-vault": {"adress": "x"}}},
        {"upstreams": [{**GOOD, "kind": "stdio"}]},
        {"upstreams": [{**GOOD, "endpoint": []}]},
        {"upstreams": [{**GOOD, "auth": {"token": "env:X"}}]},
        {"servers": [{"name": "s", "includ": []}]},
    ],
)
def test_the_json_schema_refuses_what_the_gateway_refuses(config: dict[str, Any]) -> None:
    assert schema_errors(config)


@pytest.mark.parametrize("setting", [{"refresh_interval": 1}, {"in_flight": 0}, {"timeouts": {"total": 0}}])
def test_bounds_of_settings_are_kept(setting: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="greater than"):
        DEFINITIONS.settings({"name": "a", "endpoints": ["http://a/mcp"], **setting})
