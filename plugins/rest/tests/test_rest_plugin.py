"""The plugin in a whole gateway, in front of a server that remembers what it was asked."""

from __future__ import annotations

import json
from typing import Any

import pytest
from petshop import PETSTORE, PUBLIC, petstore, result, started
from recorder import Recorder

from toolway.plugin import ConfigError, InvalidInput
from toolway_rest.settings import RestUpstream
from toolway_testing.gateway import StartGateway
from toolway_testing.polling import eventually


async def test_tools_have_names_schemas_hints_and_groups(gateway: StartGateway, pets: Recorder) -> None:
    pages = petstore(pets, include=["tag:pets"], exclude=["method:post", "path:*petId}"])
    gate = await started(gateway, pages, petstore(pets, name="admin", include=["tag:admin", "replace*"]))

    delete, replace, tool = (await gate.mcp("tools/list")).content["result"]["tools"]

    assert (tool["name"], tool["title"]) == ("pets__listPets", "List all pets")
    assert tool["annotations"] == {"readOnlyHint": True, "idempotentHint": True}
    assert tool["description"].endswith("Answers in pages: limit, page.")
    assert tool["inputSchema"]["properties"]["limit"] == {"type": "integer", "minimum": 1, "maximum": 100}
    assert tool["outputSchema"]["properties"]["result"]["items"] == {"$ref": "#/$defs/Pet"}
    assert delete["_meta"] == {"toolway/tags": ["pets", "admin"]}
    assert delete["annotations"] == {"readOnlyHint": False, "idempotentHint": True, "destructiveHint": True}
    assert replace["inputSchema"]["required"] == ["petId", "body"]


async def test_an_endpoint_can_be_declared_by_the_api(gateway: StartGateway, pets: Recorder) -> None:
    gate = await started(gateway, petstore(pets))
    weather = {
        "name": "weather",
        "path": "/weather/{city}",
        "description": "The weather of a city.",
        "parameters": [{"name": "city", "in": "path"}, {"name": "days", "schema": {"type": "integer"}}],
        "answer": {"type": "object", "properties": {"degrees": {"type": "number"}}},
    }
    own = {"kind": "rest", "endpoints": [pets.url], "allow_private": True, "operations": [weather]}

    created = await gate.api("PUT", "/upstreams/forecast", {"name": "forecast", **own})
    guessed = await gate.api("PUT", "/upstreams/bad", {**own, "name": "bad", "endpoints": ["http://u:p@x.example"]})
    refused = await gate.api("PUT", "/upstreams/file", {**own, "name": "file", "document": "/etc/passwd"})

    assert created.status == 201, created
    assert guessed.status == 400 and "carries a user name or password" in json.dumps(guessed.content)
    assert refused.status == 400 and "must be an http(s) URL" in json.dumps(refused.content)
    pets.answer("/weather/Bad Ems", {"degrees": 21.5})
    await eventually(lambda: "forecast" in gate.gateway.kernel.catalog.snapshot.upstreams)

    async def answered() -> bool:
        answer = (await gate.call("forecast__weather", {"city": "Bad Ems", "days": 3})).content
        return bool(answer.get("result", {}).get("structuredContent") == {"degrees": 21.5})

    await eventually(answered)
    assert pets.last.raw_path == "/weather/Bad%20Ems?days=3"


async def test_a_document_comes_through_the_egress_guard(gateway: StartGateway, pets: Recorder) -> None:
    pets.answer("/openapi.yaml", text=PETSTORE.read_text())
    url = f"{pets.url}/openapi.yaml"
    gate = await gateway(
        enable=["rest"],
        servers=[PUBLIC],
        upstreams=[
            petstore(pets, document=url),
            petstore(pets, name="guarded", document=url, allow_private=False),
            petstore(pets, name="broken", document=f"{pets.url}/nothing"),
            petstore(pets, name="redirected", document=f"{pets.url}/moved"),
        ],
    )
    pets.answer("/moved", text="", status=302, headers={"location": url})

    def errors() -> dict[str, str]:
        return {name: view.error for name, view in gate.gateway.kernel.catalog.snapshot.upstreams.items()}

    await eventually(lambda: all(errors()[name] for name in ("guarded", "broken", "redirected")))

    assert errors()["pets"] == ""
    assert "the address is not public" in errors()["guarded"]
    assert "no OpenAPI 3.0 or 3.1 document" in errors()["broken"]
    assert "redirects" in errors()["redirected"]


async def test_a_reload_keeps_what_was_read(gateway: StartGateway, pets: Recorder) -> None:
    pets.answer("/openapi.yaml", text=PETSTORE.read_text())
    gate = await started(gateway, petstore(pets, document=f"{pets.url}/openapi.yaml"))
    pets.answer("/openapi.yaml", text="gone", status=404)

    await gate.reload()

    assert "isError" not in await result(gate, "pets__showPetById", petId=1)
    assert [request.path for request, _ in pets.seen] == ["/openapi.yaml", "/v1/pets/1"]


async def test_an_endpoint_that_is_not_well_is_down(gateway: StartGateway, pets: Recorder) -> None:
    pets.answer("/v1/health", text="", status=500)
    gate = await gateway(enable=["rest"], upstreams=[petstore(pets, health="/health")], servers=[PUBLIC])

    def view() -> Any:
        return gate.gateway.kernel.catalog.snapshot.upstreams["pets"]

    await eventually(lambda: view().status == "down")
    assert view().error == "upstream 'pets': /health answers HTTP 500"
    pets.answer("/v1/health", text="", status=404)
    await eventually(lambda: view().status == "up")


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"document": "", "operations": []}, "needs a document, operations, or both"),
        ({"include": ["owner:x"]}, "must begin with one of: tag:"),
        ({"headers": {"host": "env:X"}}, "is set by the gateway itself"),
        ({"shapes": {"x": {"response": "a[?"}}}, "cannot be read"),
        ({"operations": [{"name": "a", "path": "/a"}, {"name": "a", "path": "/b"}]}, "have the same name: a"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(changes: dict[str, Any], what: str) -> None:
    where = {"name": "pets", "endpoints": ["https://pets.example"], "document": "petstore.yaml"}

    with pytest.raises(ValueError, match=what):
        RestUpstream.model_validate({**where, **changes})


async def test_without_the_plugin_the_kind_is_not_known(gateway: StartGateway, pets: Recorder) -> None:
    with pytest.raises((ConfigError, InvalidInput), match="kind 'rest' is not known"):
        await gateway(upstreams=[petstore(pets)])
