"""Both eras on both sides, by hand: what `test_clients.py` cannot see through the eyes of a client library.

The upstream is the fixture in one era, the client speaks one era; the four cells are the translation table of
`docs/explanation`. Where the eras are equal the gateway passes through, and the same must hold.
"""

import json
from collections.abc import Iterator
from typing import Any

import fronts
import pytest
import wire
from fronts import Cell

ERAS = ("modern", "legacy")
ASKABLE: wire.Json = {"elicitation": {}, "sampling": {}, "roots": {}}
ACCEPTED = {"action": "accept", "content": {"answer": "forty-two"}}
SAMPLED = {"role": "assistant", "model": "m", "content": {"type": "text", "text": "a sampled text"}, "vendorField": 1}
ROOTS = {"roots": [{"uri": "file:///a-root", "vendorField": 1}]}
QUESTIONS: list[tuple[str, dict[str, Any], str, wire.Json]] = [
    ("ask_elicitation", {"message": "what?"}, "elicitation/create", ACCEPTED),
    ("ask_elicitation", {"message": "no?"}, "elicitation/create", {"action": "decline"}),
    ("ask_sampling", {"prompt": "say"}, "sampling/createMessage", SAMPLED),
    ("ask_roots", {}, "roots/list", ROOTS),
]
MISSING = "test://no-such-resource"
INVALID_PARAMS, MISSING_CAPABILITY, NOT_FOUND_LEGACY = -32602, -32021, -32002
Client = wire.ModernClient | wire.LegacyClient


@pytest.fixture(scope="module", params=ERAS, ids=lambda era: f"{era}-upstream")
def cell(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cell]:
    with fronts.cell(tmp_path_factory.mktemp(request.param), request.param) as cell:
        yield cell


both_eras = pytest.mark.parametrize("era", ERAS)
before_legacy = pytest.mark.parametrize("cell", ["legacy"], ids=["legacy-upstream"], indirect=True)
before_modern = pytest.mark.parametrize("cell", ["modern"], ids=["modern-upstream"], indirect=True)

# ---------------------------------------------------------------------------------------- asking


@pytest.mark.parametrize(("tool", "arguments", "method", "response"), QUESTIONS)
def test_a_modern_client_is_asked_by_input_required(
    cell: Cell, tool: str, arguments: dict[str, Any], method: str, response: wire.Json
) -> None:
    client = cell.modern(**ASKABLE)

    asked = client.call(tool, arguments, request_id="first")
    answer = client.answer(asked, tool, arguments, response, request_id="second")

    (request,) = asked.result["inputRequests"].values()
    assert (asked.reply["id"], asked.result["resultType"], request["method"]) == ("first", "input_required", method)
    assert (answer.reply["id"], answer.result["resultType"]) == ("second", "complete")
    assert json.loads(answer.text).items() >= response.items()


@pytest.mark.parametrize(("tool", "arguments", "method", "response"), QUESTIONS)
def test_a_legacy_client_is_asked_on_the_stream_of_its_call(
    cell: Cell, tool: str, arguments: dict[str, Any], method: str, response: wire.Json
) -> None:
    client = cell.legacy(**ASKABLE)

    with client.begin_call(tool, arguments, request_id="mine") as stream:
        client.respond(stream.request(method), response)
        reply = stream.reply()

    assert reply["id"] == "mine"
    assert json.loads(reply["result"]["content"][0]["text"]).items() >= response.items()


def test_a_question_carries_everything_that_the_upstream_wrote(cell: Cell) -> None:
    modern = cell.modern(**ASKABLE).call("ask_elicitation", {"message": "grüße 😀"})
    legacy = cell.legacy(**ASKABLE)
    with legacy.begin_call("ask_elicitation", {"message": "grüße 😀"}) as stream:
        asked = stream.request("elicitation/create")["params"]

    (request,) = modern.result["inputRequests"].values()
    for params in (asked, request["params"]):
        assert params["message"] == "grüße 😀"
        assert params["requestedSchema"]["properties"] == {"answer": {"type": "string"}}


def test_progress_comes_before_the_question_on_either_wire(cell: Cell) -> None:
    params = {"name": "test_streaming_elicitation", "arguments": {}}
    modern = cell.modern(**ASKABLE).request("tools/call", params, meta={"progressToken": 7})
    legacy = cell.legacy(**ASKABLE)
    with legacy.begin("tools/call", params, meta={"progressToken": 7}) as stream:
        stream.request("elicitation/create")

        first = stream.messages[0]

    for message in (first, json.loads(modern.messages[0])):
        assert (message["method"], message["params"]["progressToken"]) == ("notifications/progress", 7)


@both_eras
def test_a_client_that_cannot_be_asked_is_never_asked(cell: Cell, era: str) -> None:
    answer = cell.client(era).call("ask_elicitation", {"message": "what?"})

    assert "inputRequests" not in answer.reply.get("result", {})
    assert "elicitation/create" not in str(answer.messages[:-1])
    assert "error" in answer.reply or answer.result["isError"]


@before_modern
def test_a_modern_client_learns_which_capability_it_lacks(cell: Cell) -> None:
    answer = cell.modern(sampling={}).call("ask_elicitation", {"message": "what?"}, request_id=3)

    assert (answer.status, answer.code, answer.reply["id"]) == (400, MISSING_CAPABILITY, 3)
    assert answer.reply["error"]["data"] == {"requiredCapabilities": {"elicitation": {}}}


def test_an_error_as_the_clients_answer_reaches_the_upstream(cell: Cell) -> None:
    client = cell.legacy(**ASKABLE)

    with client.begin_call("ask_elicitation", {"message": "what?"}, request_id=9) as stream:
        asked = stream.request("elicitation/create")
        client.post(wire.encode({"jsonrpc": "2.0", "id": asked["id"], "error": {"code": -1, "message": "not now"}}))
        reply = stream.reply()

    assert "error" in reply or reply["result"]["isError"]


def test_a_legacy_call_may_ask_many_times(cell: Cell) -> None:
    client = cell.legacy(**ASKABLE)
    seen: list[Any] = []

    with client.begin_call("ask_often", {"times": 4}) as stream:
        while len(seen) < 4:
            asked = stream.wait(lambda each: "method" in each and each["id"] not in seen)
            seen.append(asked["id"])
            client.respond(asked, ACCEPTED)
        reply = stream.reply()

    assert json.loads(reply["result"]["content"][0]["text"]) == [ACCEPTED["content"]] * 4


# ---------------------------------------------------------------------------------------- request state


@pytest.fixture
def asked(cell: Cell) -> wire.Answer:
    """A question to a modern client that can answer elicitations."""
    return cell.modern(**ASKABLE).call("ask_elicitation", {"message": "what?"})


def retry(cell: Cell, asked: wire.Answer, **changes: Any) -> wire.Answer:
    """The retry of that call, with something changed."""
    state = changes.pop("state", asked.result["requestState"])
    responses = changes.pop("responses", dict.fromkeys(asked.result["inputRequests"], ACCEPTED))
    tool, arguments = changes.pop("tool", "ask_elicitation"), changes.pop("arguments", {"message": "what?"})
    return cell.modern(**ASKABLE).call(tool, arguments, 2, inputResponses=responses, requestState=state)


@pytest.mark.parametrize(
    "changed",
    [{"arguments": {"message": "else?"}}, {"tool": "ask_often", "arguments": {"times": 1}}, {"state": "forged"}],
)
def test_a_state_that_is_not_of_this_call_is_refused(cell: Cell, asked: wire.Answer, changed: dict[str, Any]) -> None:
    assert retry(cell, asked, **changed).code == INVALID_PARAMS
    assert json.loads(retry(cell, asked).text)["content"] == ACCEPTED["content"]


@pytest.mark.parametrize("place", [0, 10, -1])
def test_a_state_with_one_changed_character_is_refused(cell: Cell, asked: wire.Answer, place: int) -> None:
    state = list(asked.result["requestState"])
    state[place] = "A" if state[place] != "A" else "B"

    assert retry(cell, asked, state="".join(state)).code == INVALID_PARAMS


@pytest.mark.parametrize("state", [7, None, [], {}, ""])
def test_a_state_of_the_wrong_type_is_refused(cell: Cell, asked: wire.Answer, state: Any) -> None:
    answer = retry(cell, asked, state=state)

    assert answer.status < 500
    assert answer.code == INVALID_PARAMS


@pytest.mark.parametrize("responses", [{}, {"another": ACCEPTED}])
def test_a_retry_without_the_answer_is_asked_again(cell: Cell, asked: wire.Answer, responses: Any) -> None:
    again = retry(cell, asked, responses=responses)

    assert again.result["resultType"] == "input_required"
    assert json.loads(retry(cell, again).text)["content"] == ACCEPTED["content"]


@pytest.mark.parametrize("responses", [7, [], "text"])
def test_answers_that_are_no_object_are_refused(cell: Cell, asked: wire.Answer, responses: Any) -> None:
    answer = retry(cell, asked, responses=responses)

    assert answer.status < 500
    assert answer.code == INVALID_PARAMS


@before_legacy
def test_a_state_is_answered_once_where_the_call_is_parked(cell: Cell, asked: wire.Answer) -> None:
    answers = [retry(cell, asked) for _ in range(2)]

    assert json.loads(answers[0].text)["content"] == ACCEPTED["content"]
    assert answers[1].code == INVALID_PARAMS


@before_legacy
def test_a_call_that_asks_is_never_run_twice(cell: Cell) -> None:
    client = cell.modern(**ASKABLE)
    before = json.loads(client.call("whoami").text)["id"]

    asked = client.call("ask_elicitation", {"message": "what?"})
    client.answer(asked, "ask_elicitation", {"message": "what?"}, ACCEPTED)

    assert json.loads(client.call("whoami").text)["id"] == before + 2


# ---------------------------------------------------------------------------------------- what is sent upstream


def test_the_upstream_sees_the_clients_capabilities_and_name(cell: Cell) -> None:
    for client in (cell.modern(sampling={}), cell.legacy(sampling={})):
        facts = json.loads(client.call("whoami").text)

        declared = facts["meta"][f"{wire.PREFIX}/clientCapabilities"] if facts["meta"] else facts["capabilities"]
        if cell.upstream == "legacy":
            declared = facts["capabilities"]
        assert set(declared) == {"sampling"}
        assert "wire" in json.dumps(facts)


@both_eras
def test_the_upstream_sees_the_version_that_it_speaks(cell: Cell, era: str) -> None:
    facts = json.loads(cell.client(era).call("whoami").text)

    assert facts["protocolVersion"] == (wire.LEGACY if cell.upstream == "legacy" else wire.MODERN)


def test_the_upstream_never_sees_the_clients_session_or_credential(cell: Cell) -> None:
    client = cell.legacy()

    headers = json.loads(client.call("whoami_headers").text)

    assert client.session not in headers.values()
    assert "authorization" not in headers
    assert not any(name.startswith("x-forwarded") for name in headers)


@before_modern
def test_a_modern_upstream_gets_the_headers_that_mirror_the_request(cell: Cell) -> None:
    headers = json.loads(cell.legacy().call("whoami_headers").text)

    assert (headers["mcp-method"], headers["mcp-name"]) == ("tools/call", "whoami_headers")


def test_a_trace_context_reaches_the_upstream(cell: Cell) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    params = {"name": "whoami", "arguments": {}}

    facts = json.loads(cell.modern().request("tools/call", params, meta={"traceparent": trace}).text)

    assert facts["meta"]["traceparent"].split("-")[1] == trace.split("-")[1]


# ---------------------------------------------------------------------------------------- what comes back


def test_every_modern_result_says_that_it_is_complete_and_who_answers(cell: Cell) -> None:
    client = cell.modern()

    for answer in (
        client.request("server/discover"),
        client.request("tools/list"),
        client.request("prompts/get", {"name": "test_simple_prompt", "arguments": {}}),
        client.request("resources/read", {"uri": "test://static-text"}),
        client.call("echo"),
    ):
        assert answer.result["resultType"] == "complete"
        assert answer.result["_meta"][f"{wire.PREFIX}/serverInfo"]["name"]


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("server/discover", {}),
        ("tools/list", {}),
        ("prompts/list", {}),
        ("resources/list", {}),
        ("resources/templates/list", {}),
        ("resources/read", {"uri": "test://static-text"}),
    ],
)
def test_a_modern_client_is_told_how_long_to_keep_what(cell: Cell, method: str, params: dict[str, Any]) -> None:
    result = cell.modern().request(method, params).result

    assert result["ttlMs"] >= 0
    assert result["cacheScope"] in {"public", "private"}


@both_eras
def test_a_resource_that_is_not_there_is_an_error_of_the_clients_era(cell: Cell, era: str) -> None:
    answer = cell.client(era).request("resources/read", {"uri": MISSING}, request_id=4)

    assert answer.reply["id"] == 4
    assert answer.code in ({INVALID_PARAMS} if era == "modern" else {INVALID_PARAMS, NOT_FOUND_LEGACY})
    assert answer.reply["error"]["data"]["uri"] == MISSING


@both_eras
def test_a_tool_that_fails_is_a_result_and_not_an_error(cell: Cell, era: str) -> None:
    answer = cell.client(era).call("test_error_handling")

    assert answer.status == 200
    assert answer.result["isError"] is True


def test_what_is_advertised_is_what_is_served(cell: Cell) -> None:
    discovered = cell.modern().request("server/discover").result["capabilities"]
    initialized = cell.legacy().initialized["capabilities"]

    for capabilities in (discovered, initialized):
        assert capabilities["resources"] == {"listChanged": True, "subscribe": True}
        assert capabilities["tools"] == capabilities["prompts"] == {"listChanged": True}
        assert "tasks" not in capabilities


@both_eras
def test_big_answers_come_whole(cell: Cell, era: str) -> None:
    assert len(cell.client(era).call("big", {"size": 3_000_000}).text) == 3_000_000


def test_nothing_of_all_this_was_unexpected(cell: Cell) -> None:
    assert fronts.complaints(cell.gate) == []
