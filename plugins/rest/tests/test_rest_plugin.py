"""The plugin in a whole gateway, in front of a server that remembers what it was asked."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from recorder import Recorder

from toolway.plugin import ConfigError, InvalidInput
from toolway_rest.settings import RestUpstream
from toolway_testing.gateway import RunningGateway, StartGateway
from toolway_testing.polling import eventually

PETSTORE = Path(__file__).parent / "parts/documents/petstore.yaml"
PUBLIC = {"name": "default", "access": "public"}


@pytest_asyncio.fixture
async def pets() -> AsyncIterator[Recorder]:
    recorder = Recorder()
    async with recorder.server:
        yield recorder


def petstore(pets: Recorder, **changes: Any) -> dict[str, Any]:
    where = {"endpoints": [f"{pets.url}/v1"], "document": str(PETSTORE), "allow_private": True}
    return {"name": "pets", "kind": "rest", **where, **changes}


async def started(gateway: StartGateway, *upstreams: dict[str, Any], **settings: Any) -> RunningGateway:
    gate = await gateway(enable=["rest"], upstreams=upstreams, servers=[PUBLIC], **settings)

    def all_up() -> bool:
        return all(view.status == "up" for view in gate.gateway.kernel.catalog.snapshot.upstreams.values())

    await eventually(all_up)
    return gate


async def result(gate: RunningGateway, tool: str, /, **arguments: Any) -> dict[str, Any]:
    answer = (await gate.call(tool, arguments)).content
    assert "result" in answer, answer
    found: dict[str, Any] = answer["result"]
    return found


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


async def test_arguments_go_where_the_document_says(gateway: StartGateway, pets: Recorder) -> None:
    gate = await started(gateway, petstore(pets))
    pets.answer("/v1/pets", [{"id": 1, "name": "Tom"}])
    arguments = {
        "limit": 5,
        "tags": ["a", "b&c"],
        "colours": ["red", "green"],
        "filter": {"kind": "cat", "x y": "ü"},
        "X-Request-Id": "r-1",
        "theme": "dark; admin=1",
    }

    answer = await result(gate, "pets__listPets", **arguments)

    query = "limit=5&tags=a&tags=b%26c&colours=red%7Cgreen&filter[kind]=cat&filter[x%20y]=%C3%BC"
    assert pets.last.raw_path == f"/v1/pets?{query}"
    assert pets.last.headers["x-request-id"] == "r-1"
    assert pets.last.headers["cookie"] == "theme=dark%3B%20admin%3D1"
    assert answer["structuredContent"] == {"result": [{"id": 1, "name": "Tom"}]}
    assert json.loads(answer["content"][0]["text"]) == [{"id": 1, "name": "Tom"}]


async def test_bodies_and_answers_of_all_kinds(gateway: StartGateway, pets: Recorder) -> None:
    gate = await started(gateway, petstore(pets))
    pets.answer("/v1/pets/1", {"name": "Tom"})
    pets.answer("/v1/owners/ann/photo", body=b"\x89PNG", content_type="image/png")
    pets.answer("/v1/owners/ann/notes", text="kept", content_type="text/plain")

    await result(gate, "pets__replacePet", petId=1, body={"name": "T&m", "tag": "x"})
    assert pets.seen[-1][1] == b"name=T%26m&tag=x"
    photo = await result(gate, "pets__ownersPhoto", name="ann")
    notes = await result(gate, "pets__putNotes", name="ann", body="a note")
    assert pets.seen[-1][1] == b"a note"
    pets.answer("/v1/pets/2", body=b"", status=204)
    gone = await result(gate, "pets__deletePet", petId=2)

    assert photo["content"] == [{"type": "image", "data": "iVBORw==", "mimeType": "image/png"}]
    assert notes["content"] == [{"type": "text", "text": "kept"}]
    assert gone["content"] == [{"type": "text", "text": "HTTP 204 No Content"}]


async def test_each_operation_gets_the_credentials_that_it_wants(
    gateway: StartGateway, pets: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"KEY": "k-1", "COOKIE": "s;1", "LOGIN": "ann:pass"}.items():
        monkeypatch.setenv(name, value)
    credentials = {"api_key": "env:KEY", "session": "env:COOKIE", "login": "env:LOGIN"}
    gate = await started(gateway, petstore(pets, credentials=credentials, headers={"x-tenant": "env:KEY"}))

    await result(gate, "pets__showPetById", petId=1)
    key = pets.last.headers
    await result(gate, "pets__putNotes", name="ann", body="x")
    session = pets.last.headers
    await result(gate, "pets__deletePet", petId=1)
    login = pets.last.headers
    await result(gate, "pets__ownersPhoto", name="ann")
    nobody = pets.last.headers

    assert key["x-api-key"] == "k-1" and "authorization" not in key
    assert session["cookie"] == "session=s%3B1" and "x-api-key" not in session
    assert login["authorization"] == "Basic " + base64.b64encode(b"ann:pass").decode()
    assert not {"x-api-key", "cookie", "authorization"} & {name.lower() for name in nobody}
    assert nobody["x-tenant"] == "k-1"


async def test_the_auth_of_the_upstream_is_used_and_asked_again(
    gateway: StartGateway, pets: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "t-1")
    gate = await started(gateway, petstore(pets, auth={"type": "bearer", "token": "env:TOKEN"}, retries=0))
    pets.answer("/v1/pets/1", {"message": "who?"}, status=401)

    answer = await result(gate, "pets__showPetById", petId=1)

    assert pets.last.headers["authorization"] == "Bearer t-1"
    assert answer["isError"] and answer["structuredContent"] == {"status": 401, "body": {"message": "who?"}}


async def test_failures_are_results_with_their_status(gateway: StartGateway, pets: Recorder) -> None:
    gate = await started(gateway, petstore(pets, retries=2))
    pets.answer("/v1/pets/1", {"message": "no such pet"}, status=404)
    pets.answer("/v1/pets/2", {"message": "broken"}, status=503, headers={"retry-after": "0"})
    pets.answer("/v1/pets", text="down for maintenance", status=502)

    missing = await result(gate, "pets__showPetById", petId=1)
    broken = await result(gate, "pets__showPetById", petId=2)
    tries = len(pets.seen) - 1
    created = await result(gate, "pets__createPet", body={"name": "Tom"})

    assert missing["isError"] and missing["structuredContent"] == {"status": 404, "body": {"message": "no such pet"}}
    assert missing["content"][0]["text"] == 'HTTP 404 Not Found\n{"message":"no such pet"}'
    assert broken["structuredContent"]["status"] == 503 and tries == 3
    assert created["structuredContent"] == {"status": 502, "body": "down for maintenance"}
    assert len(pets.seen) == tries + 2


async def test_answers_that_are_not_taken(gateway: StartGateway, pets: Recorder) -> None:
    gate = await started(gateway, petstore(pets, max_answer=2048, retries=0))
    not_taken: list[tuple[dict[str, Any], str]] = [
        ({"text": "", "status": 302, "headers": {"location": "http://127.0.0.1:1/"}}, "redirect"),
        ({"text": "x" * 3000}, "larger than 2048 bytes"),
        ({"body": b"x", "headers": {"content-encoding": "gzip"}}, "compressed"),
    ]

    for number, (options, what) in enumerate(not_taken):
        pets.answer(f"/v1/pets/{number}", **options)
        assert what in json.dumps((await gate.call("pets__showPetById", {"petId": number})).content)

    assert len(pets.seen) == 3


async def test_arguments_that_do_not_fit_are_refused_before_anything_is_sent(
    gateway: StartGateway, pets: Recorder
) -> None:
    gate = await started(gateway, petstore(pets))

    refused: dict[str, dict[str, Any]] = {
        "pets__showPetById": {"petId": "../admin"},
        "pets__listPets": {"limit": 5, "X-Request-Id": "a\r\nHost: evil"},
        "pets__ownersPhoto": {"name": "ann/../bob"},
        "pets__createPet": {},
        "pets__deletePet": {"petId": 1, "unknown": 1},
    }

    for tool, arguments in refused.items():
        answer = await result(gate, tool, **arguments)
        assert answer["isError"] and answer["content"][0]["text"].startswith("Nothing was sent: ")

    assert pets.seen == []


async def test_shapes_change_arguments_and_answers(gateway: StartGateway, pets: Recorder) -> None:
    names = {"type": "object", "properties": {"called": {"type": "string"}}}
    shapes = {
        "createPet": {"request": "{body: {name: called}}", "arguments": names, "response": "{id: id}"},
        "listPets": {"response": "$[*].name", "next": "{page: `7`}"},
    }
    gate = await started(gateway, petstore(pets, shapes=shapes))
    pets.answer("/v1/pets", {"id": 7, "secret": "x"}, status=201)

    created = await result(gate, "pets__createPet", called="Tom")
    body = pets.seen[-1][1]
    pets.answer("/v1/pets", [{"name": "Tom"}, {"name": "Ann"}])
    listed = await result(gate, "pets__listPets")

    assert body == b'{"name":"Tom"}'
    assert created["structuredContent"] == {"id": 7} and "secret" not in json.dumps(created)
    assert listed["structuredContent"] == {"result": ["Tom", "Ann"]}
    assert listed["_meta"]["toolway/next"] == {"page": 7}


async def test_a_link_to_the_next_page_becomes_arguments(gateway: StartGateway, pets: Recorder) -> None:
    gate = await started(gateway, petstore(pets))
    link = (
        '<https://evil.example/x?page=1>; rel="prev", <https://evil.example/v1/pets?page=3&limit=2&admin=1>; rel="next"'
    )
    pets.answer("/v1/pets", [], headers={"link": link})

    answer = await result(gate, "pets__listPets")

    assert answer["_meta"]["toolway/next"] == {"page": 3, "limit": 2}
    assert answer["content"][1]["text"] == "There is more: call again with page = 3, limit = 2."


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
