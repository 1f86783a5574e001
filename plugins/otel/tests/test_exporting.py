"""Where telemetry goes: over both protocols, through outages, and never at the expense of a call."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import MetricsData, NumberDataPoint, Sum
from opentelemetry.sdk.resources import Resource
from receiver import Receiver

from toolway.hookspecs.telemetry import Family
from toolway.plugin import ConfigError
from toolway_otel.conversion import metrics_data
from toolway_otel.exporting import exporters
from toolway_otel.settings import OtelSettings
from toolway_otel.shipping import Shipper
from toolway_testing.gateway import RunningGateway, StartGateway
from toolway_testing.polling import eventually, eventually_now
from toolway_testing.ports import free_port

FIXTURE = Path(__file__).resolve().parents[3] / "tests/fixtures/everything.py"
TRACED = Path(__file__).with_name("parts") / "traced_server.py"


async def started(gateway: StartGateway, **settings: Any) -> RunningGateway:
    known = {"sample_ratio": 1, "metrics_interval": 0.2, "timeout": 1, **settings}
    gate = await gateway(enable=["otel"], plugins={"otel": known}, demo=True)
    await gate.gateway.kernel.catalog.refresh("demo")
    return gate


def lost(gate: RunningGateway) -> float:
    families = {each.name: each.series for each in gate.gateway.kernel.metrics.collect()}
    return float(families["toolway_spans_dropped_total"].get((), [0.0])[0])


async def test_metrics_arrive_with_their_totals(gateway: StartGateway, receiver: Receiver) -> None:
    gate = await started(gateway, endpoint=f"http://127.0.0.1:{receiver.http}")
    for _ in range(3):
        await gate.call("demo__add", {"a": 1, "b": 2})

    def counted() -> Any:
        found = [each for each in receiver.metrics if each["name"] == "toolway_calls_total"]
        return found[-1] if found and found[-1]["points"][0][1] == 3 else None

    metric = await eventually(counted)
    assert metric["points"][0][0] == {"method": "tools/call", "server": "all", "upstream": "demo", "outcome": "ok"}
    assert metric["resource"]["service.name"] == "toolway"
    [seconds] = [each for each in receiver.metrics if each["name"] == "toolway_call_seconds"][-1:]
    assert (seconds["kind"], seconds["unit"], sum(seconds["points"][0][1])) == ("histogram", "s", 3)


async def test_totals_do_not_begin_anew_with_a_reload(gateway: StartGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[MetricsData] = []
    monkeypatch.setattr(Shipper, "put_metrics", lambda self, data: sent.append(data()))
    gate = await started(gateway, endpoint=f"http://127.0.0.1:{free_port()}")
    await eventually(lambda: sent)
    before = len(sent)

    await gate.reload()
    await eventually(lambda: len(sent) > before + 2)

    scopes = [data.resource_metrics[0].scope_metrics[0] for data in sent]
    points = [point for scope in scopes for metric in scope.metrics for point in metric.data.data_points]
    assert len({point.start_time_unix_nano for point in points if isinstance(point, NumberDataPoint)}) == 1


async def test_over_grpc(gateway: StartGateway, receiver: Receiver) -> None:
    gate = await started(gateway, protocol="grpc", endpoint=f"http://127.0.0.1:{receiver.grpc}")
    await gate.call("demo__add", {"a": 1, "b": 2})

    await eventually(lambda: len(receiver.spans) >= 3 and receiver.metrics)


async def test_a_receiver_that_is_away_costs_no_call_anything_and_what_is_lost_is_counted(
    gateway: StartGateway, caplog: pytest.LogCaptureFixture
) -> None:
    gate = await started(gateway, endpoint=f"http://127.0.0.1:{free_port()}", timeout=0.3)
    began = perf_counter()
    answers = await asyncio.gather(*(gate.call("demo__add", {"a": 1, "b": 2}) for _ in range(20)))

    assert {each.status for each in answers} == {200}
    assert perf_counter() - began < 2

    await eventually(lambda: lost(gate) >= 60)
    assert "is the receiver at" in caplog.text


async def test_a_receiver_that_says_nothing_holds_nobody_up_and_the_queue_is_bounded(
    gateway: StartGateway, receiver: Receiver
) -> None:
    gate = await started(gateway, endpoint=f"http://127.0.0.1:{receiver.http}", queue=10, timeout=2)
    receiver.go_on.clear()
    for _ in range(4):
        answers = await asyncio.gather(*(gate.call("demo__add", {"a": 1, "b": 2}) for _ in range(10)))
        assert {each.status for each in answers} == {200}
    receiver.go_on.set()

    await eventually(lambda: receiver.spans)
    assert len(receiver.spans) < 120


async def test_it_recovers_when_the_receiver_does(gateway: StartGateway, receiver: Receiver) -> None:
    gate = await started(gateway, endpoint=f"http://127.0.0.1:{receiver.http}")
    receiver.status = 400
    await gate.call("demo__add", {"a": 1, "b": 2})
    await eventually(lambda: receiver.headers)
    receiver.status = 200
    await gate.call("demo__add", {"a": 1, "b": 2})

    await eventually(lambda: len(receiver.spans) >= 3)


async def test_a_reload_keeps_the_exporter(gateway: StartGateway, receiver: Receiver) -> None:
    gate = await started(gateway, endpoint=f"http://127.0.0.1:{receiver.http}")
    await gate.call("demo__add", {"a": 1, "b": 2})
    await gate.reload()
    await gate.call("demo__add", {"a": 1, "b": 2})

    await eventually(lambda: len(receiver.spans) >= 6)


def test_a_protocol_that_is_not_installed_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "grpc", None)

    with pytest.raises(ConfigError, match=r"toolway-otel\[grpc\]"):
        exporters(OtelSettings(protocol="grpc"), {})


@pytest.mark.parametrize(
    ("known", "ratio", "protocol"),
    [
        ({}, 0.01, "http"),
        ({"OTEL_TRACES_SAMPLER": "always_on", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, 1, "http"),
        ({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.2"}, 0.2, "http"),
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_off", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, 0, "grpc"),
    ],
)
def test_the_standard_variables_count(
    monkeypatch: pytest.MonkeyPatch, known: dict[str, str], ratio: float, protocol: str
) -> None:
    for name, value in known.items():
        monkeypatch.setenv(name, value)

    settings = OtelSettings()

    assert (settings.sample_ratio, settings.protocol) == (ratio, protocol)


def test_metrics_have_no_secrets_in_their_labels() -> None:
    family = Family("toolway_x_total", "X.", "counter", ("up",), {("s3cret-1",): [1.0], ("s3cret-2",): [2.0]})

    data = metrics_data([family], Resource.create(), 0, lambda text: text.replace(text, "hidden"))

    [metric] = data.resource_metrics[0].scope_metrics[0].metrics
    assert isinstance(metric.data, Sum)
    assert [(point.attributes, point.value) for point in metric.data.data_points] == [({"up": "hidden"}, 3.0)]


@contextmanager
def rotel(http: int, grpc: int, to: int, directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A collector that takes both protocols and passes on by gRPC; the test is skipped where there is none."""
    found = pytest.importorskip("rotel")
    command = [str(Path(found.__file__ or "").with_name("rotel-agent")), "start"]
    command += ["--otlp-grpc-endpoint", f"127.0.0.1:{grpc}", "--otlp-http-endpoint", f"127.0.0.1:{http}"]
    command += ["--otlp-exporter-endpoint", f"http://127.0.0.1:{to}", "--otlp-exporter-protocol", "grpc"]
    command += ["--exporter", "otlp", "--batch-timeout", "200ms", "--log-format", "text"]
    with (directory / "rotel.log").open("a") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield process
        finally:
            process.terminate()


async def calling(gate: RunningGateway, arrived: Callable[[], Any]) -> None:
    """Call, and never be refused, until something arrived."""

    async def called() -> bool:
        assert (await gate.call("demo__add", {"a": 1, "b": 2})).status == 200
        return bool(arrived())

    await eventually(called)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
async def test_a_real_collector_that_is_killed_and_comes_back(
    gateway: StartGateway, receiver: Receiver, tmp_path: Path, protocol: str
) -> None:
    ports = {"http": free_port(), "grpc": free_port()}
    url = f"http://127.0.0.1:{ports[protocol]}"
    gate = await started(gateway, endpoint=url, protocol=protocol, timeout=0.5)
    with rotel(**ports, to=receiver.grpc, directory=tmp_path) as process:
        await calling(gate, lambda: len(receiver.spans) >= 3 and receiver.metrics)
        process.kill()
    await calling(gate, lambda: lost(gate) > 0)
    receiver.spans.clear()
    with rotel(**ports, to=receiver.grpc, directory=tmp_path):
        await calling(gate, lambda: len(receiver.spans) >= 3)


PAGE = Path(__file__).resolve().parents[3] / "docs/how-to/otel.md"
SPANS = 7


@pytest.mark.slow
async def test_one_trace_through_two_gateways_to_a_server_that_traces_itself(
    gateway: StartGateway, receiver: Receiver, tmp_path: Path
) -> None:
    url, port = f"http://127.0.0.1:{receiver.http}", free_port()
    log = tmp_path / "server.log"
    command = [sys.executable, str(TRACED), str(FIXTURE), url, "--port", str(port)]
    with log.open("w") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:  # noqa: ASYNC220
        try:
            eventually_now(lambda: "listening on" in log.read_text())
            back = await _gateway(gateway, "back", url, f"http://127.0.0.1:{port}/mcp", tmp_path)
            front = await _gateway(gateway, "front", url, f"{back.url}/mcp", tmp_path)
            [tool] = [each for each in await _tools(front) if each.endswith("test_simple_text")]
            receiver.spans.clear()
            answer = await front.call(tool)
            assert "result" in answer.content
            await eventually(lambda: len(receiver.spans) >= SPANS)
        finally:
            process.terminate()

    tree = "\n".join(receiver.tree())
    assert tree in PAGE.read_text("utf-8"), tree


async def _tools(gate: RunningGateway) -> list[str]:
    return [each["name"] for each in (await gate.mcp("tools/list")).content["result"]["tools"]]


async def _gateway(gateway: StartGateway, name: str, otlp: str, upstream: str, directory: Path) -> RunningGateway:
    table = {"name": "next", "kind": "http", "endpoints": [upstream], "allow_private": True}
    gate = await gateway(
        enable=["otel"],
        plugins={"otel": {"endpoint": otlp, "sample_ratio": 1, "metrics": False, "service_name": name}},
        upstreams=[table],
        data_dir=directory / name,
    )
    await gate.gateway.kernel.catalog.refresh("next")
    return gate
