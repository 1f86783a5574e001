"""Prompts in a whole gateway: as clients, editors and operators meet them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prompt_samples import got, listed, prompt, written

from toolway_prompts.models import CollectionRow
from toolway_testing.gateway import RunningGateway, StartGateway
from toolway_testing.polling import eventually

PATH = "/prompt-collections"


async def test_a_directory_is_an_upstream_whose_files_are_followed(gateway: StartGateway, tmp_path: Path) -> None:
    directory = written(tmp_path / "prompts")
    upstream = {"name": "team", "kind": "prompts", "directory": str(directory)}
    gate = await gateway(enable=["prompts"], upstreams=[upstream])
    entry = await eventually(lambda: _entry(gate, "team__review"))

    assert entry["description"] == "Review a change."
    assert entry["arguments"][0] == {"name": "code", "description": "The change.", "required": True}
    assert entry["_meta"]["toolway/arguments"]["language"] == {"enum": ["python", "rust", "perl"]}
    answer = await gate.mcp("prompts/get", {"name": "team__review", "arguments": {"code": "x", "points": "2"}})
    messages = answer.content["result"]["messages"]
    assert [each["role"] for each in messages] == ["user", "assistant", "user", "user", "user"]
    assert messages[0]["content"] == {"type": "text", "text": "Review this change:\n\nx"}
    assert messages[1]["content"]["text"] == "I look at 2 points."
    assert messages[2]["content"] == {"type": "image", "data": "iVBORw0KGgo=", "mimeType": "image/png"}
    assert messages[3]["content"]["type"] == "resource_link" and messages[4]["content"]["type"] == "resource"
    refused = await got(gate, "team__review", code="x", language="cobol")
    assert refused["code"] == -32602 and "'language' of prompt 'review' does not fit its schema" in refused["message"]

    asked = {"ref": {"type": "ref/prompt", "name": "team__review"}, "argument": {"name": "language", "value": "p"}}
    answer = await gate.mcp("completion/complete", asked)
    assert answer.content["result"]["completion"] == {"values": ["python", "perl"], "total": 2, "hasMore": False}

    (directory / "review@2.toml").write_text('messages = [{ text = "Version two." }]')
    await eventually(lambda: _is_version(gate, "team__review", 2))
    assert await got(gate, "team__review") == ["Version two."]
    (directory / "review@2.toml").write_text('messages = [{ text = "{{ broken" }]')
    shown = await eventually(lambda: _problems(gate, "team"))
    assert "prompt 'review' version 2 is left out: messages[0].text line 1" in shown
    assert await got(gate, "team__review") == ["Version two."]


async def test_a_mistake_in_a_file_is_told_of_its_upstream_and_among_the_problems_of_the_gateway(
    gateway: StartGateway, tmp_path: Path
) -> None:
    directory = written(tmp_path / "prompts")
    (directory / "other.toml").write_text("messages = [")
    upstream = {"name": "team", "kind": "prompts", "directory": str(directory)}

    gate = await gateway(enable=["prompts"], upstreams=[upstream])
    await eventually(lambda: _entry(gate, "team__review"))

    told = (await gate.api("GET", "/upstreams/team")).content["meta"]
    assert told["status"] == "up"
    assert [each.partition(" ")[0] for each in told["problems"]] == ["other.toml"]
    assert "upstream 'team': other.toml" in str((await gate.api("GET", "/health")).content["problems"])
    (directory / "other.toml").unlink()
    await eventually(lambda: _is_told_well(gate, "team"))


async def _is_told_well(gate: Any, name: str) -> bool:
    return not (await gate.api("GET", f"/upstreams/{name}")).content["meta"]["problems"]


async def _entry(gate: Any, name: str) -> Any:
    return (await listed(gate)).get(name)


async def _is_version(gate: Any, name: str, version: int) -> bool:
    entry = await _entry(gate, name)
    return entry is not None and entry["_meta"]["toolway/version"] == version


async def _problems(gate: Any, name: str) -> str:
    view = gate.gateway.kernel.catalog.snapshot.upstreams[name]
    return "; ".join(view.discovery.problems) if view.discovery else ""


async def test_a_collection_made_by_api_is_served_changed_and_deleted(gateway: StartGateway) -> None:
    gate = await gateway(enable=["prompts"])
    body = {"name": "hello", "prompts": [prompt(), prompt("bye", "Bye {{ who }}.")]}
    created = await gate.api("POST", PATH, body)

    assert created.status == 201, created.content
    await eventually(lambda: _entry(gate, "hello__greet"))
    assert await got(gate, "hello__greet", who="Ann") == ["Hello Ann."]
    second = prompt(text="Good morning {{ who }}.", version=2)
    assert (await gate.api("PUT", f"{PATH}/hello", {**body, "prompts": [prompt(), second]})).status == 200
    await eventually(lambda: _is_version(gate, "hello__greet", 2))
    assert await got(gate, "hello__greet", who="Ann") == ["Good morning Ann."]
    assert "hello__bye" not in await listed(gate)
    pinned = {**body, "prompts": [prompt(), second], "serve": {"greet": 1}}
    assert (await gate.api("PUT", f"{PATH}/hello", pinned)).status == 200
    await eventually(lambda: _is_version(gate, "hello__greet", 1))
    assert (await gate.api("DELETE", f"{PATH}/hello")).status == 204
    assert await listed(gate) == {}


async def test_a_collection_that_cannot_be_read_keeps_no_other_from_being_served(gateway: StartGateway) -> None:
    gate = await gateway(enable=["prompts"])
    async with gate.gateway.kernel.database.change("catalog", "test", "put", "old") as tx:
        tx.session.add(CollectionRow(name="old", settings='{"name": "old", "gone": 1}', revision=1))

    assert (await gate.api("POST", PATH, {"name": "hello", "prompts": [prompt()]})).status == 201
    await eventually(lambda: _entry(gate, "hello__greet"))
    assert [each["name"] for each in (await gate.api("GET", PATH)).content["items"]] == ["hello", "old"]
    assert (await gate.api("GET", f"{PATH}/old")).content["description"] == "cannot be read"
    assert (await gate.api("DELETE", f"{PATH}/old")).status == 204


async def test_the_api_refuses_what_could_not_be_served_and_looks_at_the_rest(
    gateway: StartGateway, tmp_path: Path
) -> None:
    gate = await gateway(enable=["prompts"], upstreams=[{"name": "taken", "kind": "prompts"}])

    bad = await gate.api("POST", PATH, {"name": "bad", "prompts": [prompt(text="a\n {{ who|nope }}")]})
    taken = await gate.api("POST", PATH, {"name": "taken", "prompts": []})
    unpinned = await gate.api("POST", PATH, {"name": "bad", "prompts": [prompt()], "serve": {"greet": 9}})
    reading = await gate.api("POST", "/upstreams", {"name": "files", "kind": "prompts", "directory": str(tmp_path)})

    assert bad.status == 400 and "there is no filter 'nope'" in bad.content["detail"]
    finding = bad.content["findings"][0]
    assert (finding["where"], finding["line"], finding["column"]) == ("messages[0].text", 2, 9)
    assert taken.status == 409 and unpinned.status == 400
    assert reading.status == 400 and "in the configuration file only" in reading.content["detail"]
    await _look_at_prompts(gate)


async def _look_at_prompts(gate: RunningGateway) -> None:
    cases = [{"name": "names", "arguments": {"who": "Ann"}, "contains": ["Bob"]}]
    versions = [prompt(), prompt(text="Hi {{ who }}!", version=2, tests=cases, description="")]
    assert (await gate.api("POST", PATH, {"name": "hello", "prompts": versions})).status == 201
    one, given = f"{PATH}/hello", {"who": "Ann"}

    found = (await gate.api("GET", f"{one}/lint")).content
    preview = await gate.api("POST", f"{one}/preview", {"prompt": "greet", "arguments": given})
    compared = (await gate.api("POST", f"{one}/diff", {"prompt": "greet", "old": 1, "arguments": given})).content
    tested = (await gate.api("POST", f"{one}/test")).content
    drafted = (await gate.api("POST", "/prompt-drafts/lint", {"prompts": [prompt(text="{{ x }}")]})).content

    assert [each["rule"] for each in found["findings"]] == ["missing-description"]
    assert preview.content["messages"][0]["content"]["text"] == "Hi Ann!"
    assert '-messages[0].text = "Hello {{ who }}."' in compared["source"] and "+Hi Ann!" in compared["rendered"]
    assert tested["failed"] == 1 and tested["results"][0]["problems"] == ["no message contains 'Bob'"]
    assert {each["rule"] for each in drafted["findings"]} == {"undeclared-variable", "unused-argument"}
    assert (await gate.api("POST", f"{one}/preview", {"prompt": "none"})).status == 404
    assert (await gate.api("GET", f"{PATH}/none/lint")).status == 404
    assert (await gate.api("GET", f"{one}/lint", token="")).status == 401
