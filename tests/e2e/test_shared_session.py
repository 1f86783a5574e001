"""Two gateway processes on one database are one gateway: sessions, streams, questions and parked calls are shared."""

import json
import re
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

import pytest
import running
import wire

from toolway_testing.polling import eventually_now
from toolway_testing.ports import free_port
from toolway_testing.postgres import Postgres, execute

ELICITATION: wire.Json = {"elicitation": {}}
ACCEPTED = {"action": "accept", "content": {"answer": "forty-two"}}
WATCHED = "test://watched-resource"
INVALID_PARAMS = -32602


@dataclass(frozen=True)
class Node:
    """One gateway process."""

    gate: running.Gateway
    process: Popen[bytes]

    @property
    def url(self) -> str:
        return self.gate.endpoint


@dataclass(frozen=True)
class Pair:
    """Two nodes on one database."""

    first: Node
    second: Node
    token: str


@contextmanager
def node(directory: Path, name: str, database: str, tables: str) -> Iterator[Node]:
    """A gateway that shares its data directory, and a database if one is given, with others of the same directory."""
    url = f"http://127.0.0.1:{free_port()}"
    settings = {
        "bind": url.removeprefix("http://"),
        "public_url": url,
        "data_dir": str(directory / "data"),
        "keyvalue": "database",
        "pubsub": "database",
        "drain_delay": 0,
        **({"database": f"literal:{database}"} if database else {}),
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    file, log = directory / f"{name}.toml", directory / f"{name}.log"
    file.write_text("\n".join(["[gateway]", *lines, "", tables]))
    command = [str(Path(sys.executable).with_name("toolway")), "serve", "--config", str(file)]
    with running.child(command, log, lambda: running.answers(f"{url}/ready")) as process:
        yield Node(running.Gateway(url, log), process)


@contextmanager
def pair(directory: Path, database: str, tables: str) -> Iterator[Pair]:
    """Two nodes that know the tools of the fixture."""
    with node(directory, "first", database, tables) as first, node(directory, "second", database, tables) as second:
        for each in (first, second):
            running.wait_for_tool(each.gate, "echo")
        token = re.search(r"twa_[\w-]+", running.tail(first.gate.log, 1_000_000))
        assert token is not None
        yield Pair(first, second, token[0])


@contextmanager
def empty_database(server: Postgres | None) -> Iterator[str]:
    """The address of a new database in PostgreSQL, or nothing, which means SQLite in the data directory."""
    if server is None:
        yield ""
        return
    name = f"e2e_{uuid.uuid4().hex}"
    execute(server, f"create database {name}")
    yield server.url(name)
    execute(server, f"drop database {name} with (force)")


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.server)])
def server(request: pytest.FixtureRequest) -> Postgres | None:
    """Where the databases are."""
    return request.getfixturevalue("postgres_server") if request.param == "postgresql" else None


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A fixture of both eras at the server `conformance`, and one of the legacy era at `old`."""
    directory = tmp_path_factory.mktemp("upstreams")
    old = '[[servers]]\nname = "old"\naccess = "public"\nnaming = "plain"\ninclude = ["old/*"]\n\n'
    with running.everything(directory) as url, running.everything(directory, "--era", "legacy") as old_url:
        yield "".join(
            [
                running.upstream_table("fixture", url),
                running.upstream_table("old", old_url),
                running.server_table("fixture/*"),
                old,
            ]
        )


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory, server: Postgres | None, tables: str) -> Iterator[Pair]:
    with empty_database(server) as database, pair(tmp_path_factory.mktemp("nodes"), database, tables) as both:
        yield both


@pytest.fixture
def session(nodes: Pair) -> Iterator[wire.LegacyClient]:
    """A session that the first node made, for a client that can be asked."""
    client = wire.LegacyClient(nodes.first.url, ELICITATION)
    yield client
    client.end()


@pytest.fixture
def elsewhere(nodes: Pair, session: wire.LegacyClient) -> wire.LegacyClient:
    """The same session on the second node."""
    return session.at(nodes.second.url)


# ---------------------------------------------------------------------------------------- sessions


def test_a_session_made_on_one_node_calls_on_the_other(elsewhere: wire.LegacyClient) -> None:
    assert json.loads(elsewhere.call("echo", {"a": 1}).text) == {"a": 1}


def test_a_session_ended_on_one_node_is_not_found_on_the_other(
    session: wire.LegacyClient, elsewhere: wire.LegacyClient
) -> None:
    assert elsewhere.request("ping").status == 200

    session.end()

    eventually_now(lambda: elsewhere.request("ping").status == 404)


def test_the_end_of_a_session_ends_what_it_has_on_the_other_node(
    session: wire.LegacyClient, elsewhere: wire.LegacyClient
) -> None:
    before = int(session.call("cancelled_count").text)
    with elsewhere.listen() as stream, elsewhere.begin_call("slow", {"seconds": 60}) as slow:
        eventually_now(lambda: int(session.call("running_count").text))
        session.end()

        eventually_now(lambda: stream.is_over and slow.is_over)
    other = wire.LegacyClient(elsewhere.url)
    eventually_now(lambda: int(other.call("cancelled_count").text) > before)


def test_a_log_level_set_on_one_node_holds_on_the_other(
    session: wire.LegacyClient, elsewhere: wire.LegacyClient
) -> None:
    assert len(elsewhere.call("test_tool_with_logging").messages) > 1

    session.request("logging/setLevel", {"level": "emergency"})

    eventually_now(lambda: len(elsewhere.call("test_tool_with_logging").messages) == 1)


def test_an_unknown_session_is_unknown_on_both_nodes(nodes: Pair, session: wire.LegacyClient) -> None:
    forged = session.session[:-4] + "AAAA"

    statuses = [session.at(each.url, {"Mcp-Session-Id": forged}).request("ping").status for each in nodes_of(nodes)]

    assert statuses == [404, 404]


# ---------------------------------------------------------------------------------------- streams


def test_the_stream_on_one_node_tells_of_a_list_that_changed_through_the_other(
    session: wire.LegacyClient, elsewhere: wire.LegacyClient
) -> None:
    with session.listen() as stream:
        elsewhere.call("test_trigger_tool_change")

        stream.request("notifications/tools/list_changed")


def test_the_stream_on_one_node_tells_of_a_resource_that_was_subscribed_on_the_other(
    session: wire.LegacyClient, elsewhere: wire.LegacyClient
) -> None:
    with session.listen() as stream:
        assert elsewhere.request("resources/subscribe", {"uri": WATCHED}).result == {}

        def heard() -> bool:
            elsewhere.call("bump_resource")
            return any(each["method"] == "notifications/resources/updated" for each in stream.messages)

        eventually_now(heard)


def test_a_subscription_holds_when_the_stream_moves_to_the_other_node(
    session: wire.LegacyClient, elsewhere: wire.LegacyClient
) -> None:
    session.request("resources/subscribe", {"uri": WATCHED})
    with elsewhere.listen() as stream:

        def heard() -> bool:
            session.call("bump_resource")
            return any(each["method"] == "notifications/resources/updated" for each in stream.messages)

        eventually_now(heard)


def test_a_stream_that_broke_on_one_node_goes_on_at_the_other(
    session: wire.LegacyClient, elsewhere: wire.LegacyClient
) -> None:
    with session.listen() as broken:
        eventually_now(lambda: broken.ids)
    with wire.ModernClient(session.url).listen(toolsListChanged=True) as watching:
        session.call("test_trigger_tool_change")
        watching.request("notifications/tools/list_changed")

    with elsewhere.listen(broken.ids[-1]) as stream:
        stream.request("notifications/tools/list_changed")
        session.call("test_trigger_prompt_change")
        stream.request("notifications/prompts/list_changed")


def test_a_stream_opened_on_one_node_ends_the_one_on_the_other(
    session: wire.LegacyClient, elsewhere: wire.LegacyClient
) -> None:
    with session.listen() as old, elsewhere.listen() as new:
        eventually_now(lambda: old.is_over)
        session.call("test_trigger_tool_change")

        new.request("notifications/tools/list_changed")


def test_a_reply_whose_stream_broke_on_one_node_is_resumed_on_the_other(
    session: wire.LegacyClient, elsewhere: wire.LegacyClient
) -> None:
    params = {"name": "slow", "arguments": {"seconds": 1.5}}
    with session.begin("tools/call", params, request_id="broken", meta={"progressToken": "p"}) as broken:
        eventually_now(lambda: len(broken.messages) >= 2)

    with elsewhere.listen(broken.ids[-1]) as rest:
        assert rest.reply()["id"] == "broken"

    progress = [each["params"]["progress"] for each in [*broken.messages, *rest.messages[:-1]]]
    assert len(progress) > 10
    assert progress == sorted(set(progress))


# ---------------------------------------------------------------------------------------- questions


@pytest.mark.parametrize("behind", ["conformance", "old"])
def test_a_question_asked_on_one_node_is_answered_on_the_other(nodes: Pair, behind: str) -> None:
    session = wire.LegacyClient(f"{nodes.first.gate.url}/servers/{behind}/mcp", ELICITATION)
    elsewhere = session.at(f"{nodes.second.gate.url}/servers/{behind}/mcp")
    with session.begin_call("ask_elicitation", {"message": "what?"}) as stream:
        question = stream.request("elicitation/create")

        assert elsewhere.respond(question, ACCEPTED).status == 202

        assert json.loads(stream.reply()["result"]["content"][0]["text"])["content"] == ACCEPTED["content"]


def test_an_answer_of_another_session_is_not_taken_on_either_node(nodes: Pair, session: wire.LegacyClient) -> None:
    with session.begin_call("ask_elicitation", {"message": "what?"}) as stream:
        question = stream.request("elicitation/create")
        for each in nodes_of(nodes):
            wire.LegacyClient(each.url).respond(question, {"action": "accept", "content": {"answer": "forged"}})

        session.respond(question, ACCEPTED)

        assert "forty-two" in stream.reply()["result"]["content"][0]["text"]


def test_a_call_on_one_node_is_cancelled_from_the_other(
    session: wire.LegacyClient, elsewhere: wire.LegacyClient
) -> None:
    before = int(session.call("cancelled_count").text)
    with session.begin_call("slow", {"seconds": 60}, request_id="slow") as stream:
        eventually_now(lambda: int(elsewhere.call("running_count").text))

        elsewhere.notify("notifications/cancelled", {"requestId": "slow"})

        eventually_now(lambda: int(elsewhere.call("cancelled_count").text) > before)
        eventually_now(lambda: stream.is_over)
        assert [each for each in stream.messages if "result" in each] == []


# ---------------------------------------------------------------------------------------- parked calls


def parked(node: Node, request_id: int = 1) -> tuple[wire.ModernClient, wire.Answer]:
    """A call of a modern client that waits for input, with the legacy upstream behind it."""
    client = wire.ModernClient(f"{node.gate.url}/servers/old/mcp", ELICITATION)
    asked = client.call("ask_elicitation", {"message": "what?"}, request_id)
    assert asked.result["resultType"] == "input_required"
    return client, asked


def retried(node: Node, asked: wire.Answer) -> wire.Answer:
    client = wire.ModernClient(f"{node.gate.url}/servers/old/mcp", ELICITATION)
    return client.answer(asked, "ask_elicitation", {"message": "what?"}, ACCEPTED, request_id="retry")


def test_a_parked_call_goes_on_when_it_is_retried_on_the_other_node(nodes: Pair) -> None:
    _, asked = parked(nodes.first)

    answer = retried(nodes.second, asked)

    assert answer.reply["id"] == "retry"
    assert json.loads(answer.text)["content"] == ACCEPTED["content"]


def test_a_call_that_asks_again_and_again_moves_between_the_nodes(nodes: Pair) -> None:
    first, second = (wire.ModernClient(f"{each.gate.url}/servers/old/mcp", ELICITATION) for each in nodes_of(nodes))
    answer = first.call("ask_often", {"times": 3})
    for client in (second, first, second):
        answer = client.answer(answer, "ask_often", {"times": 3}, ACCEPTED)

    assert json.loads(answer.text) == [ACCEPTED["content"]] * 3


def test_of_two_equal_retries_on_two_nodes_one_wins(nodes: Pair) -> None:
    _, asked = parked(nodes.first)

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda each: retried(each, asked), nodes_of(nodes)))

    won = [answer for answer in answers if "result" in answer.reply]
    assert len(won) == 1
    assert {answer.code for answer in answers if answer not in won} == {INVALID_PARAMS}


def test_a_parked_call_is_not_taken_up_by_another_principal(nodes: Pair) -> None:
    _, asked = parked(nodes.first)
    headers = {"Authorization": f"Bearer {nodes.token}"}
    thief = wire.ModernClient(f"{nodes.second.gate.url}/servers/old/mcp", ELICITATION, headers)

    stolen = thief.answer(asked, "ask_elicitation", {"message": "what?"}, ACCEPTED)

    assert stolen.code == INVALID_PARAMS
    assert "result" in retried(nodes.second, asked).reply


# ---------------------------------------------------------------------------------------- the catalog


def test_what_is_registered_on_one_node_is_served_by_the_other(nodes: Pair) -> None:
    headers = {**wire.JSON_HEADERS, "Authorization": f"Bearer {nodes.token}"}
    body = wire.encode({"name": "made", "access": "public", "include": ["fixture/echo"]})

    created = wire.send(f"{nodes.first.gate.url}/api/v1/servers", "POST", body, headers)

    assert created.status == 201
    made = wire.ModernClient(f"{nodes.second.gate.url}/servers/made/mcp")
    eventually_now(lambda: made.request("tools/list").status == 200, timeout=2)


# ---------------------------------------------------------------------------------------- a node dies


@pytest.mark.slow
def test_a_parked_call_whose_node_was_killed_is_lost_and_never_run_again(
    tmp_path: Path, server: Postgres | None, tables: str
) -> None:
    with empty_database(server) as database, pair(tmp_path, database, tables) as nodes:
        _, asked = parked(nodes.first)
        session = wire.LegacyClient(nodes.first.url, ELICITATION)
        nodes.first.process.kill()
        nodes.first.process.wait()

        answers = [retried(nodes.second, asked) for _ in range(2)]

        assert [answer.reply["error"]["data"]["code"] for answer in answers] == ["call_lost"] * 2
        assert "echo" in session.at(nodes.second.url).call("echo", {"text": "echo"}).text


@pytest.mark.slow
def test_two_nodes_that_start_at_once_share_one_empty_database(
    tmp_path: Path, server: Postgres | None, tables: str
) -> None:
    with empty_database(server) as database, ExitStack() as stack, ThreadPoolExecutor(2) as pool:
        starting = [pool.submit(stack.enter_context, node(tmp_path, name, database, tables)) for name in "ab"]
        first, second = (each.result() for each in starting)
        running.wait_for_tool(second.gate, "echo")

        session = wire.LegacyClient(first.url)

        assert session.at(second.url).request("ping").status == 200
        tokens = [
            re.findall(r"shown once\): (twa_[\w-]+)", running.tail(each.gate.log, 1_000_000))
            for each in (first, second)
        ]
        assert sum(map(len, tokens)) == 1
        assert not any("Traceback" in running.tail(each.gate.log, 1_000_000) for each in (first, second))


def nodes_of(nodes: Pair) -> tuple[Node, Node]:
    return nodes.first, nodes.second
