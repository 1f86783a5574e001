"""Clients that use the same JSON-RPC ids at the same time never receive each other's answers (CVE-2026-25536)."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import running
import wire

CLIENTS = 24
CALLS = 15
PARKED = 16
"""Calls of one principal that may wait for its answer at the same time; all clients here are the anonymous one."""

Client = wire.ModernClient | wire.LegacyClient


@pytest.fixture(scope="module", params=["dual", "legacy", "modern"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory = tmp_path_factory.mktemp(request.param)
    with running.everything(directory, "--era", request.param) as upstream:
        tables = running.upstream_table("fixture", upstream) + running.server_table("fixture/*")
        with running.gateway(directory, tables) as gate:
            running.wait_for_tool(gate, "echo")
            yield gate.endpoint


def connected(url: str, mix: str, number: int) -> Client:
    is_legacy = mix == "legacy" or (mix == "mixed" and number % 2)
    return wire.LegacyClient(url) if is_legacy else wire.ModernClient(url)


def strangers(client: Client, number: int) -> list[str]:
    """What this client was told that is not its own, in all its calls; all use the ids 1, "1", 2, "2" and so on."""
    wrong = []
    for serial in range(CALLS):
        request_id: int | str = serial // 2 + 1 if serial % 2 else str(serial // 2 + 1)
        answer = client.call("echo", {"client": number, "serial": serial}, request_id)
        if answer.reply["id"] != request_id or json.loads(answer.text) != {"client": number, "serial": serial}:
            wrong.append(answer.body.decode())
    return wrong


@pytest.mark.parametrize("mix", ["modern", "legacy", "mixed"])
def test_clients_with_equal_ids_receive_their_own_answers(url: str, mix: str) -> None:
    clients = [connected(url, mix, number) for number in range(CLIENTS)]

    with ThreadPoolExecutor(CLIENTS) as pool:
        wrong = list(pool.map(strangers, clients, range(CLIENTS)))

    assert wrong == [[]] * CLIENTS


@pytest.mark.parametrize("era", ["modern", "legacy"])
def test_clients_with_equal_ids_and_tokens_receive_their_own_progress(url: str, era: str) -> None:
    clients = [connected(url, era, number) for number in range(CLIENTS)]

    def progress(client: Client) -> list[float]:
        params = {"name": "test_tool_with_progress", "arguments": {}}
        answer = client.request("tools/call", params, request_id=1, meta={"progressToken": "same"})
        notified = [json.loads(each)["params"] for each in answer.messages[:-1]]
        assert {each["progressToken"] for each in notified} == {"same"}
        return [each["progress"] for each in notified]

    with ThreadPoolExecutor(CLIENTS) as pool:
        assert list(pool.map(progress, clients)) == [[0, 50, 100]] * CLIENTS


def test_questions_to_legacy_clients_with_equal_ids_reach_the_client_that_called(url: str) -> None:
    clients = [wire.LegacyClient(url, {"elicitation": {}}) for _ in range(CLIENTS)]

    def asked(client: wire.LegacyClient, number: int) -> str:
        with client.begin_call("ask_elicitation", {"message": f"who? {number}"}, request_id=1) as stream:
            question = stream.request("elicitation/create")
            assert question["params"]["message"] == f"who? {number}"
            client.respond(question, {"action": "accept", "content": {"answer": str(number)}})
            return str(json.loads(stream.reply()["result"]["content"][0]["text"])["content"]["answer"])

    with ThreadPoolExecutor(CLIENTS) as pool:
        assert list(pool.map(asked, clients, range(CLIENTS))) == [str(number) for number in range(CLIENTS)]


def test_questions_to_modern_clients_with_equal_ids_reach_the_client_that_called(url: str) -> None:
    def asked(number: int) -> str:
        client = wire.ModernClient(url, {"elicitation": {}})
        arguments = {"message": f"who? {number}"}
        question = client.call("ask_elicitation", arguments, request_id=1)
        (request,) = question.result["inputRequests"].values()
        assert request["params"]["message"] == f"who? {number}"
        response = {"action": "accept", "content": {"answer": str(number)}}
        answer = client.answer(question, "ask_elicitation", arguments, response, request_id=2)
        return str(json.loads(answer.text)["content"]["answer"])

    with ThreadPoolExecutor(PARKED) as pool:
        assert list(pool.map(asked, range(CLIENTS))) == [str(number) for number in range(CLIENTS)]


def test_an_answer_under_the_id_of_somebody_elses_question_goes_nowhere(url: str) -> None:
    asked, stranger = (wire.LegacyClient(url, {"elicitation": {}}) for _ in range(2))
    with asked.begin_call("ask_elicitation", {"message": "who?"}) as stream:
        question = stream.request("elicitation/create")
        stranger.respond(question, {"action": "accept", "content": {"answer": "the stranger"}})
        asked.respond(question, {"action": "accept", "content": {"answer": "the one who was asked"}})

        assert "the one who was asked" in stream.reply()["result"]["content"][0]["text"]
