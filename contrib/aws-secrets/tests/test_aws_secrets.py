"""The plugin in a real gateway, with secrets of a moto server, which speaks the API of AWS."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from toolway.plugin import SecretUnavailable
from toolway_testing.gateway import RunningGateway, StartGateway
from toolway_testing.polling import eventually

REGION = "eu-central-1"


@pytest.fixture
def moto(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ThreadedMotoServer]:
    """A server of this test alone, and credentials for it; none of whoever runs the tests."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tests")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "tests")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    urllib.request.urlopen(f"{address(server)}/moto-api/reset", data=b"").close()  # its secrets are the process's
    yield server
    server.stop()


@pytest.fixture
def aws(moto: ThreadedMotoServer) -> Any:
    """A client of the administrator."""
    client = boto3.client("secretsmanager", endpoint_url=address(moto), region_name=REGION)
    yield client
    client.close()


def address(moto: ThreadedMotoServer) -> str:
    host, port = moto.get_host_and_port()
    return f"http://{host}:{port}"


async def started(gateway: StartGateway, endpoint: str, **more: Any) -> RunningGateway:
    settings = {"region": REGION, "endpoint": endpoint, "refresh": 0.1, "timeout": 5, **more}
    return await gateway(enable=["aws-secrets"], plugins={"aws-secrets": settings})


async def complaint(gate: RunningGateway, reference: str) -> str:
    try:
        await gate.gateway.kernel.secrets.get(reference)
    except SecretUnavailable as error:
        return error.message
    return ""


async def test_a_whole_secret_and_a_key_of_one(gateway: StartGateway, moto: ThreadedMotoServer, aws: Any) -> None:
    aws.create_secret(Name="toolway/whole", SecretString="s3cret")
    arn = aws.create_secret(Name="toolway/issues", SecretString='{"token": "of issues", "port": 5432}')["ARN"]
    get = (await started(gateway, address(moto))).gateway.kernel.secrets.get

    assert await get("aws-secrets:toolway/whole") == "s3cret"
    assert await get("aws-secrets:toolway/issues#token") == "of issues"
    assert await get(f"aws-secrets:{arn}#port") == "5432"


async def test_a_rotated_secret_is_used_without_a_restart(
    gateway: StartGateway, moto: ThreadedMotoServer, aws: Any
) -> None:
    aws.create_secret(Name="issues", SecretString="first")
    get = (await started(gateway, address(moto))).gateway.kernel.secrets.get
    assert await get("aws-secrets:issues") == "first"

    aws.put_secret_value(SecretId="issues", SecretString="second")

    async def is_new() -> bool:
        return await get("aws-secrets:issues") == "second"

    await eventually(is_new, 5.0)


async def test_what_cannot_be_used_says_why_and_names_no_value(
    gateway: StartGateway, moto: ThreadedMotoServer, aws: Any
) -> None:
    aws.create_secret(Name="text", SecretString="hunter2hunter2")
    aws.create_secret(Name="binary", SecretBinary=b"hunter2hunter2")
    gate = await started(gateway, address(moto))

    said = [await complaint(gate, f"aws-secrets:{name}") for name in ("nowhere", "binary", "text#key")]

    assert "is refused: ResourceNotFoundException" in said[0]
    assert "it is binary" in said[1]
    assert "no JSON object with the key 'key'" in said[2]
    assert "hunter2" not in "".join(said)


async def test_a_known_value_is_used_while_aws_does_not_answer_and_not_for_ever(
    gateway: StartGateway, moto: ThreadedMotoServer, aws: Any
) -> None:
    aws.create_secret(Name="issues", SecretString="first")
    gate = await started(gateway, address(moto), stale_for=2)
    assert await gate.gateway.kernel.secrets.get("aws-secrets:issues") == "first"

    moto.stop()

    assert await complaint(gate, "aws-secrets:issues") == ""
    assert "cannot be read (EndpointConnectionError)" in await complaint(gate, "aws-secrets:other")

    async def is_over() -> bool:
        return "cannot be read" in await complaint(gate, "aws-secrets:issues")

    await eventually(is_over, 8.0)


async def test_a_deleted_secret_is_not_used_on(gateway: StartGateway, moto: ThreadedMotoServer, aws: Any) -> None:
    aws.create_secret(Name="issues", SecretString="first")
    gate = await started(gateway, address(moto))
    assert await gate.gateway.kernel.secrets.get("aws-secrets:issues") == "first"

    aws.delete_secret(SecretId="issues", ForceDeleteWithoutRecovery=True)

    async def is_gone() -> bool:
        return "is refused" in await complaint(gate, "aws-secrets:issues")

    await eventually(is_gone, 5.0)


def test_the_plugin_module_loads_no_boto3() -> None:
    code = "import sys, toolway_aws_secrets.plugin; sys.exit('boto3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
