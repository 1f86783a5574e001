"""Both eras on both sides, by hand: what `test_clients.py` cannot see through the eyes of a client library.

The upstream is the fixture in one era, the client speaks one era; the four cells are the translation table of
`docs/explanation`. Where the eras are equal the gateway passes through, and the same must hold.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import running
import wire

from toolway_testing.polling import eventually_now

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
WATCHED = "test://watched-resource"
MISSING = "test://no-such-resource"
INVALID_PARAMS, MISSING_CAPABILITY, NOT_FOUND_LEGACY = -32602, -32021, -32002
Client = wire.ModernClient | wire.LegacyClient


@dataclass(frozen=True)
class Cell:
    """One upstream behind a gateway."""

    gate: running.Gateway
    upstream: str
    """The era that the upstream speaks."""

    @property
    def url(self) -> str:
        return self.gate.endpoint

    def modern(self, **capabilities: Any) -> wire.ModernClient:
        return wire.ModernClient(self.url, capabilities)

    def legacy(self, **capabilities: Any) -> wire.LegacyClient:
        return wire.LegacyClient(self.url, capabilities)

    def client(self, era: str, **capabilities: Any) -> Client:
        return self.legacy(**capabilities) if era == "legacy" else self.modern(**capabilities)

    def count(self, of: str) -> int:
        """How many calls of `slow` run, or were cancelled."""
        return int(self.modern().call(f"{of}_count").text)


@pytest.fixture(scope="module", params=ERAS, ids=lambda era: f"{era}-upstream")
def cell(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cell]:
    directory = tmp_path_factory.mktemp(request.param)
    with running.everything(directory, "--era", request.param) as upstream:
        tables = running.upstream_table("fixture", upstream) + running.server_table("fixture/*")
        with running.gateway(directory, tables) as gate:
            running.wait_for_tool(gate, "echo")
            yield Cell(gate, request.param)


both_eras = pytest.mark.parametrize("era", ERAS)
before_legacy = pytest.mark.parametrize("cell", ["legacy"], ids=["legacy-upstream"], indirect=True)
before_modern = pytest.mark.parametrize("cell", ["modern"], ids=["modern-upstream"], indirect=True)


def told(stream: wire.Stream, method: str) -> list[wire.Json]:
    """The params of every message of that method so far."""
    return [each.get("params", {}) for each in stream.messages if each.get("method") == f"notifications/{method}"]


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


# ---------------------------------------------------------------------------------------- cancellation


def test_a_modern_client_that_goes_away_cancels_at_the_upstream(cell: Cell) -> None:
    before = cell.count("cancelled")
    with cell.modern().begin("tools/call", {"name": "slow", "arguments": {"seconds": 60}}):
        eventually_now(lambda: cell.count("running"))

    eventually_now(lambda: cell.count("cancelled") == before + 1)
    assert cell.count("running") == 0


def test_a_modern_client_that_goes_away_from_an_event_stream_cancels_at_the_upstream(cell: Cell) -> None:
    before = cell.count("cancelled")
    params = {"name": "slow", "arguments": {"seconds": 60}}
    with cell.modern().begin("tools/call", params, meta={"progressToken": "p"}) as stream:
        stream.request("notifications/progress")

    eventually_now(lambda: cell.count("cancelled") == before + 1)


def test_a_legacy_client_cancels_at_the_upstream_and_gets_no_answer(cell: Cell) -> None:
    before, client = cell.count("cancelled"), cell.legacy()
    with client.begin_call("slow", {"seconds": 60}, request_id="slow") as stream:
        eventually_now(lambda: cell.count("running"))
        client.notify("notifications/cancelled", {"requestId": "slow", "reason": "no time"})

        eventually_now(lambda: cell.count("cancelled") == before + 1)
        eventually_now(lambda: stream.is_over)

    assert [each for each in stream.messages if "method" not in each] == []


def test_a_legacy_client_that_only_loses_its_connection_gets_the_answer_later(cell: Cell) -> None:
    before, client = cell.count("cancelled"), cell.legacy()
    params = {"name": "slow", "arguments": {"seconds": 1}}
    with client.begin("tools/call", params, request_id="slow", meta={"progressToken": "p"}) as stream:
        stream.request("notifications/progress")

    with client.listen(stream.ids[-1]) as rest:
        assert rest.reply()["result"]["content"][0]["text"] == "slept 1.0 s"

    assert cell.count("cancelled") == before


def test_another_sessions_cancellation_of_the_same_id_does_nothing(cell: Cell) -> None:
    before, mine, other = cell.count("cancelled"), cell.legacy(), cell.legacy()
    with mine.begin_call("slow", {"seconds": 0.5}, request_id=1) as stream:
        eventually_now(lambda: cell.count("running"))
        other.notify("notifications/cancelled", {"requestId": 1})

        assert "result" in stream.reply()

    assert cell.count("cancelled") == before


@both_eras
def test_a_client_that_goes_away_while_it_is_asked_ends_the_call(cell: Cell, era: str) -> None:
    """Its session ends (legacy); a modern client only stops coming back, and nothing of its call is left in flight."""
    if era == "modern":
        asked = cell.modern(**ASKABLE).call("ask_elicitation", {"message": "what?"})
        assert asked.result["resultType"] == "input_required"
    else:
        client = cell.legacy(**ASKABLE)
        with client.begin_call("ask_elicitation", {"message": "what?"}) as stream:
            stream.request("elicitation/create")
            client.end()
            eventually_now(lambda: stream.is_over)

    assert cell.count("running") == 0


# ---------------------------------------------------------------------------------------- progress and logs


@both_eras
@pytest.mark.parametrize("token", ["text", 7, "", 0])
def test_progress_comes_under_the_clients_own_token(cell: Cell, era: str, token: str | int) -> None:
    params = {"name": "test_tool_with_progress", "arguments": {}}

    answer = cell.client(era).request("tools/call", params, meta={"progressToken": token})

    notified = [json.loads(each)["params"] for each in answer.messages[:-1]]
    assert [(each["progressToken"], each["progress"]) for each in notified] == [(token, 0), (token, 50), (token, 100)]


@both_eras
def test_without_a_token_there_is_no_progress(cell: Cell, era: str) -> None:
    answer = cell.client(era).call("test_tool_with_progress")

    assert len(answer.messages) == 1


@pytest.mark.parametrize(("level", "count"), [(None, 0), ("debug", 3), ("info", 3), ("error", 0)])
def test_a_modern_client_gets_the_logs_that_this_request_asks_for(cell: Cell, level: str | None, count: int) -> None:
    params = {"name": "test_tool_with_logging", "arguments": {}}
    meta = {f"{wire.PREFIX}/logLevel": level} if level else {}

    answer = cell.modern().request("tools/call", params, meta=meta)

    methods = [json.loads(each)["method"] for each in answer.messages[:-1]]
    assert methods == ["notifications/message"] * count


def test_one_modern_clients_log_level_is_not_anothers(cell: Cell) -> None:
    params = {"name": "test_tool_with_logging", "arguments": {}}
    cell.modern().request("tools/call", params, meta={f"{wire.PREFIX}/logLevel": "debug"})

    assert len(cell.modern().request("tools/call", params).messages) == 1


@pytest.mark.parametrize(("level", "count"), [("debug", 3), ("info", 3), ("error", 0)])
def test_a_legacy_client_gets_the_logs_that_its_session_asks_for(cell: Cell, level: str, count: int) -> None:
    client = cell.legacy()
    assert client.request("logging/setLevel", {"level": level}).result == {}

    answer = client.call("test_tool_with_logging")

    assert len(answer.messages) - 1 == count


# ---------------------------------------------------------------------------------------- subscriptions


def test_a_modern_subscription_is_acknowledged_first_and_tagged(cell: Cell) -> None:
    client = cell.modern()
    with client.listen("my id", toolsListChanged=True, resourceSubscriptions=[WATCHED]) as stream:
        client.call("bump_resource")
        updated = stream.request("notifications/resources/updated")
        client.call("test_trigger_tool_change")
        changed = stream.request("notifications/tools/list_changed")
        first = stream.messages[0]

    assert first["params"]["notifications"] == {"toolsListChanged": True, "resourceSubscriptions": [WATCHED]}
    assert updated["params"]["uri"] == WATCHED
    tags = {each["params"]["_meta"][f"{wire.PREFIX}/subscriptionId"] for each in (first, updated, changed)}
    assert tags == {"my id"}


def test_a_modern_subscription_tells_nothing_that_was_not_asked_for(cell: Cell) -> None:
    client = cell.modern()
    with client.listen(promptsListChanged=True) as stream:
        client.call("bump_resource")
        client.call("test_trigger_tool_change")
        client.call("test_trigger_prompt_change")
        stream.request("notifications/prompts/list_changed")

    assert {each["method"] for each in stream.messages} == {
        "notifications/subscriptions/acknowledged",
        "notifications/prompts/list_changed",
    }


def test_a_list_is_fresh_when_its_change_is_told(cell: Cell) -> None:
    client = cell.modern()
    with client.listen(toolsListChanged=True) as stream:
        client.call("add_tool")
        stream.request("notifications/tools/list_changed")

        assert "added_tool" in _names(client)
    client.call("remove_tool")
    eventually_now(lambda: "added_tool" not in _names(client))


def test_a_legacy_session_hears_of_updates_until_it_unsubscribes(cell: Cell) -> None:
    client = cell.legacy()
    with client.listen() as stream:
        client.request("resources/subscribe", {"uri": WATCHED})
        client.call("bump_resource")
        eventually_now(lambda: told(stream, "resources/updated"))
        client.request("resources/unsubscribe", {"uri": WATCHED})
        heard = len(told(stream, "resources/updated"))
        client.call("bump_resource")
        client.call("test_trigger_tool_change")
        eventually_now(lambda: told(stream, "tools/list_changed"))

    assert len(told(stream, "resources/updated")) == heard


def test_a_session_does_not_hear_of_another_sessions_subscriptions(cell: Cell) -> None:
    subscriber, other = cell.legacy(), cell.legacy()
    with subscriber.listen() as mine, other.listen() as theirs:
        subscriber.request("resources/subscribe", {"uri": WATCHED})
        subscriber.call("bump_resource")
        eventually_now(lambda: told(mine, "resources/updated"))

        assert told(theirs, "resources/updated") == []


def test_a_second_stream_of_a_session_takes_the_place_of_the_first(cell: Cell) -> None:
    client = cell.legacy()
    with client.listen() as first, client.listen() as second:
        eventually_now(lambda: first.is_over)
        client.call("test_trigger_tool_change")

        eventually_now(lambda: told(second, "tools/list_changed"))


def test_events_missed_by_a_broken_stream_come_with_the_next(cell: Cell) -> None:
    client = cell.legacy()
    with client.listen() as stream:
        eventually_now(lambda: stream.ids)
    with cell.modern().listen(toolsListChanged=True) as watching:
        client.call("test_trigger_tool_change")
        watching.request("notifications/tools/list_changed")

    with client.listen(stream.ids[-1]) as resumed:
        eventually_now(lambda: told(resumed, "tools/list_changed"))


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
    assert "Traceback" not in running.tail(cell.gate.log, 1_000_000)


def _names(client: wire.ModernClient) -> list[str]:
    return [tool["name"] for tool in client.request("tools/list").result["tools"]]
