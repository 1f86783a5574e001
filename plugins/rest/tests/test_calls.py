"""Calls of tools through a gateway: what the API is asked, and what the client is told."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from petshop import petstore, result, started
from recorder import Recorder

from toolway_testing.gateway import StartGateway


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
