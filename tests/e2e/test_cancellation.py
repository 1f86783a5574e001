"""A call that its client gives up is cancelled at the upstream, whichever eras the two speak."""

from collections.abc import Iterator

import fronts
import pytest
import wire
from fronts import Cell

from toolway_testing.polling import eventually_now

ERAS = ("modern", "legacy")
ASKABLE: wire.Json = {"elicitation": {}}


@pytest.fixture(scope="module", params=ERAS, ids=lambda era: f"{era}-upstream")
def cell(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cell]:
    with fronts.cell(tmp_path_factory.mktemp(request.param), request.param) as cell:
        yield cell


both_eras = pytest.mark.parametrize("era", ERAS)


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


def test_nothing_of_all_this_was_unexpected(cell: Cell) -> None:
    assert fronts.complaints(cell.gate) == []
