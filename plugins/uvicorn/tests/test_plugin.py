"""The plugin in a gateway: enabled, disabled, chosen, misconfigured."""

from __future__ import annotations

import pytest

from toolway.errors import PluginError
from toolway_testing.gateway import StartGateway


async def test_an_enabled_plugin_serves(gateway: StartGateway) -> None:
    gate = await gateway(enable=["uvicorn"], demo=True)

    assert gate.gateway.runner.name == "uvicorn"
    assert (await gate.mcp("tools/list")).status == 200


async def test_a_disabled_plugin_does_not(gateway: StartGateway) -> None:
    gate = await gateway()

    assert gate.gateway.runner.name == "hypercorn"


async def test_the_operator_may_choose_hypercorn_all_the_same(gateway: StartGateway) -> None:
    gate = await gateway(enable=["uvicorn"], server="hypercorn")

    assert gate.gateway.runner.name == "hypercorn"


async def test_there_is_nothing_to_set(gateway: StartGateway) -> None:
    with pytest.raises(PluginError, match="uvicorn"):
        await gateway(enable=["uvicorn"], plugins={"uvicorn": {"loop": "uvloop"}})
