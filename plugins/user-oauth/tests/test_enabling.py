"""The plugin on and off, and settings that cannot work."""

from __future__ import annotations

from typing import Any

import pytest
from house import Provider, settings
from pydantic import ValidationError
from tracker import Tracker

from toolway.plugin import PluginError
from toolway.plugin.host import Plugins
from toolway_testing.gateway import StartGateway
from toolway_user_oauth.settings import UserOAuth


async def test_without_the_plugin_its_auth_is_not_known(gateway: StartGateway) -> None:
    gate = await gateway()
    auth = {"type": "oauth-user", "client_id": "me"}

    answer = await gate.api("POST", "/upstreams", {"name": "x", "endpoints": ["https://x.example/mcp"], "auth": auth})

    assert (answer.status, "'oauth-user' is not known" in answer.content["detail"]) == (400, True)


@pytest.mark.parametrize("plugin", [{"patience": 601}, {"patience": -1}, {"proof": "none"}, {"prof": "link"}])
def test_settings_that_cannot_be_used_are_refused(plugin: dict[str, Any]) -> None:
    plugins = Plugins.load(["user-oauth"], settings={"user-oauth": plugin})

    with pytest.raises(PluginError, match=f"user-oauth.*{next(iter(plugin))}"):
        plugins.refuse_broken()


@pytest.mark.parametrize(
    ("auth", "complaint"),
    [
        ({}, "client_id"),
        ({"client_id": "x", "client_secret": "plain text"}, "secret reference"),
        ({"client_id": "x", "token_endpoint": "https://a.example/t"}, "go together"),
        ({"client_id": "x", "revocation_endpoint": "https://a.example/r"}, "needs authorization_endpoint"),
        ({"client_id": "x", "discover_as": "two words"}, "discover_as"),
        ({"client_id": "x", "scope": ["a"]}, "scope"),
    ],
)
def test_declarations_that_cannot_work_are_refused(auth: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        UserOAuth.model_validate(auth)


async def test_the_document_of_the_api_describes_its_operations(
    gateway: StartGateway, provider: Provider, upstream: Tracker, people: None
) -> None:
    gate = await gateway(**settings(provider, upstream))

    described = (await gate.api("GET", "/openapi.json")).content["paths"]

    assert set(described["/api/v1/connections"]) == {"get", "post"}
    assert set(described["/user-oauth/connect/{ticket}"]) == {"get", "post"}
    assert described["/user-oauth/callback"]["get"]["security"] == []
