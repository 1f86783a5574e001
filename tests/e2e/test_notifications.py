"""Progress, logs, changed lists and updated resources reach the client that they are for, whichever eras meet."""

import json
from collections.abc import Iterator

import fronts
import pytest
import wire
from fronts import Cell

from toolway_testing.polling import eventually_now

ERAS = ("modern", "legacy")
WATCHED = "test://watched-resource"


@pytest.fixture(scope="module", params=ERAS, ids=lambda era: f"{era}-upstream")
def cell(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cell]:
    with fronts.cell(tmp_path_factory.mktemp(request.param), request.param) as cell:
        yield cell


both_eras = pytest.mark.parametrize("era", ERAS)


def told(stream: wire.Stream, method: str) -> list[wire.Json]:
    """The params of every message of that method so far."""
    return [each.get("params", {}) for each in stream.messages if each.get("method") == f"notifications/{method}"]


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


def test_nothing_of_all_this_was_unexpected(cell: Cell) -> None:
    assert fronts.complaints(cell.gate) == []


def _names(client: wire.ModernClient) -> list[str]:
    return [tool["name"] for tool in client.request("tools/list").result["tools"]]
