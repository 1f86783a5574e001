"""Reloads of one gateway, by API and by its files."""

from __future__ import annotations

import gc
import threading
from pathlib import Path
from typing import Any
from weakref import ref

import pytest

from toolway.config import Config
from toolway_reload.messages import CHANNEL, ENCODE, Over
from toolway_reload.schemas import ReloadReport
from toolway_testing.gateway import Answer, RunningGateway, StartGateway
from toolway_testing.polling import eventually


@pytest.fixture
async def gate(gateway: StartGateway) -> RunningGateway:
    return await gateway(demo=True, enable=["reload"], plugins={"reload": {"watch_interval": 0.05}})


def will_read(gate: RunningGateway, **gateway: Any) -> None:
    """The configuration now says this."""
    settings = gate.config.gateway.model_copy(update=gateway)
    gate.config = gate.config.model_copy(update={"gateway": settings})


async def reload(gate: RunningGateway, **body: Any) -> Answer:
    return await gate.api("POST", "/reload", body)


async def test_a_reload_says_what_is_different_and_is_in_force(gate: RunningGateway) -> None:
    will_read(gate, page_size=1, workers=3)

    answer = await reload(gate)

    assert answer.status == 200
    assert answer.content["outcome"] == "in force"
    assert answer.content["differences"] == [
        {"path": "gateway.page_size", "what": "changed", "needs_restart": False},
        {"path": "gateway.workers", "what": "changed", "needs_restart": True},
    ]
    assert [each["node"] for each in answer.content["nodes"]] == [gate.gateway.kernel.node]
    assert gate.gateway.config.gateway.page_size == 1
    assert gate.gateway.config.gateway.workers == 1


async def test_a_dry_run_changes_nothing(gate: RunningGateway) -> None:
    will_read(gate, page_size=1)
    serving = gate.gateway

    answer = await reload(gate, dry_run=True)

    assert answer.content["outcome"] == "only checked"
    assert [each["path"] for each in answer.content["differences"]] == ["gateway.page_size"]
    assert gate.gateway is serving
    assert (await reload(gate)).content["outcome"] == "in force", "what was checked does not stand in the way"


async def test_what_cannot_be_used_is_refused_and_told_until_it_is_mended(gate: RunningGateway) -> None:
    good, serving = gate.config, gate.gateway
    will_read(gate, balancer="nothing-of-the-kind")

    answer = await reload(gate)

    assert answer.content["outcome"] == "refused"
    assert "nothing-of-the-kind" in answer.content["problem"]
    assert gate.gateway is serving
    health = (await gate.api("GET", "/health")).content
    assert "nothing-of-the-kind" in str(health)
    gate.config = good
    assert (await reload(gate)).content["outcome"] == "in force"
    assert "nothing-of-the-kind" not in str((await gate.api("GET", "/health")).content)
    outcomes = [each["outcome"] for each in (await gate.api("GET", "/reload")).content["items"]]
    assert outcomes == ["in force", "refused"], "the history outlives reloads"


async def test_it_reloads_when_a_file_changed_and_stayed_so(gate: RunningGateway, tmp_path: Path) -> None:
    file = tmp_path / "toolway.toml"
    file.write_text("")
    gate.life.files = lambda: (file, tmp_path / "is-not-there.toml")
    await reload(gate)
    will_read(gate, page_size=5)

    file.write_text("# changed")

    await eventually(lambda: gate.gateway.config.gateway.page_size == 5)
    [last, _] = (await gate.api("GET", "/reload")).content["items"]
    assert last["by"] == "the files changed"


async def test_what_was_only_checked_is_put_in_force_all_the_same_when_it_was_saved(
    gate: RunningGateway, tmp_path: Path
) -> None:
    file = tmp_path / "toolway.toml"
    file.write_text("")
    gate.life.files = lambda: (file,)
    await reload(gate)
    will_read(gate, page_size=5)
    file.write_text("# changed")

    await reload(gate, dry_run=True)

    await eventually(lambda: gate.gateway.config.gateway.page_size == 5)


async def test_what_was_only_checked_and_cannot_be_used_is_no_complaint(gate: RunningGateway) -> None:
    will_read(gate, balancer="nothing-of-the-kind")

    answer = await reload(gate, dry_run=True)

    assert (answer.content["outcome"], answer.content["dry_run"]) == ("refused", True)
    assert "nothing-of-the-kind" not in str((await gate.api("GET", "/health")).content)


async def test_it_may_switch_itself_off(gate: RunningGateway) -> None:
    plugins = gate.config.plugins.model_copy(update={"enable": ()})
    gate.config = gate.config.model_copy(update={"plugins": plugins})

    assert (await reload(gate)).content["outcome"] == "in force"
    assert (await gate.api("GET", "/reload")).status == 404


async def test_sighup_reloads(gate: RunningGateway) -> None:
    will_read(gate, page_size=7)

    gate.life.hung_up()

    await eventually(lambda: gate.gateway.config.gateway.page_size == 7)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # collects what other tests left too
async def test_nothing_of_the_gateway_before_stays_in_memory(gateway: StartGateway) -> None:
    gate = await gateway(enable=["reload"])
    await reload(gate)  # what is kept for all of them was made by the first one
    gone = (ref(gate.gateway), ref(gate.gateway.kernel))
    for number in (3, 4):
        will_read(gate, page_size=number)
        assert (await reload(gate)).content["outcome"] == "in force"
    await eventually(lambda: not gate.life._retiring.running)

    gc.collect()
    assert (gone[0](), gone[1]()) == (None, None)


async def test_a_node_that_died_is_not_waited_for_longer_than_it_is_known(gate: RunningGateway) -> None:
    await gate.gateway.kernel.keyvalue.set("reload/nodes/dead", b"", ttl=0.5)

    answer = await reload(gate)

    assert answer.content["outcome"] == "in force"
    assert [each["node"] for each in answer.content["nodes"]] == [gate.gateway.kernel.node]


async def test_what_takes_too_long_does_not_stand_in_the_way_of_the_next(gateway: StartGateway) -> None:
    gate = await gateway(enable=["reload"], plugins={"reload": {"watch": False, "patience": 0.5}})
    load, goes_on = gate.life._load, threading.Event()

    def slow() -> Config:
        goes_on.wait(10)
        return load()

    gate.life._load = slow
    late = await reload(gate)
    assert (late.content["outcome"], "did not answer" in late.content["problem"]) == ("refused", True)
    gate.life._load = load
    goes_on.set()

    assert (await reload(gate)).content["outcome"] == "in force"


async def test_every_node_knows_how_the_reloads_that_others_led_ended(gate: RunningGateway) -> None:
    kernel = gate.gateway.kernel
    report = ReloadReport(at=1, by="SIGHUP", outcome="refused", problem="node other: no")

    await kernel.pubsub.publish(CHANNEL, ENCODE(Over("", "other", report.model_dump_json())))

    assert (await gate.api("GET", "/reload")).content["items"] == [report.model_dump(mode="json")]
    assert "node other: no" in str((await gate.api("GET", "/health")).content)
