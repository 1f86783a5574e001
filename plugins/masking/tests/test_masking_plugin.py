"""The plugin in a whole gateway."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import Any

import pytest

from toolway.plugin import ConfigError, PluginError
from toolway_masking.outcries import Outcries
from toolway_testing.gateway import RunningGateway, StartGateway
from toolway_testing.polling import eventually


async def test_what_is_told_is_masked(gateway: StartGateway) -> None:
    gate = await gateway(enable=["masking"])

    redact = gate.gateway.kernel.redact

    assert redact("Authorization: Bearer abc-def-1") == "Authorization: [redacted]"
    assert redact(gate.token) == "[redacted]"
    assert redact("anything", "password") == "[redacted]"


async def test_without_the_plugin_only_what_was_resolved_is_removed(gateway: StartGateway) -> None:
    gate = await gateway()

    assert gate.gateway.kernel.redact("Authorization: Bearer abc-def-1") == "Authorization: Bearer abc-def-1"


async def test_a_pattern_that_cannot_be_used_keeps_the_gateway_from_starting(gateway: StartGateway) -> None:
    with pytest.raises(ConfigError, match=r"plugins\.masking\.patterns\.mine"):
        await gateway(enable=["masking"], plugins={"masking": {"patterns": {"mine": "(?=x)"}}})


@pytest.mark.parametrize("settings", [{"names": "x"}, {"emails": 2}, {"unknown": True}])
async def test_settings_that_cannot_be_used_are_refused(gateway: StartGateway, settings: dict[str, Any]) -> None:
    with pytest.raises((ConfigError, PluginError), match="masking"):
        await gateway(enable=["masking"], plugins={"masking": settings})


async def test_a_reload_changes_what_is_masked(gateway: StartGateway) -> None:
    gate: RunningGateway = await gateway(enable=["masking"])
    tables = {"enable": ["masking"], "masking": {"patterns": {"employee": "E-[0-9]{6}"}}}

    await gate.reload(plugins=gate.config.plugins.model_validate(tables))

    assert gate.gateway.kernel.redact("E-123456") == "[redacted]"


async def test_a_redactor_that_fails_lets_nothing_through(gateway: StartGateway) -> None:
    gate = await gateway(enable=["masking"])
    (masker,) = gate.gateway.kernel.redact.redactors
    masker.presented.values = lambda: 1 / 0  # type: ignore[attr-defined]

    assert gate.gateway.kernel.redact("harmless") == "[redacted: the redactor failed with ZeroDivisionError]"


async def test_what_python_itself_would_tell_is_logged_while_a_gateway_runs(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise ValueError("of a thread")

    class Failing:
        def __del__(self) -> None:
            raise ValueError("of a finalizer")

    before = threading.excepthook, sys.unraisablehook
    async with Outcries().run():
        async with Outcries().run():
            pass  # a reload, whose new gateway did not stay
        thread = threading.Thread(target=fail, name="failing")
        thread.start()
        await asyncio.to_thread(thread.join)
        del thread
        Failing()

    assert {str(each.exc_info[1]) for each in caplog.records if each.exc_info} == {"of a thread", "of a finalizer"}
    assert "the thread failing failed" in caplog.text
    assert "of a" not in capfd.readouterr().err
    assert (threading.excepthook, sys.unraisablehook) == before


async def test_requests_are_answered_as_before(gateway: StartGateway) -> None:
    gate = await gateway(enable=["masking"], demo=True)

    async def listed() -> bool:
        return bool((await gate.mcp("tools/list")).content["result"]["tools"])

    await eventually(listed)
    assert (await gate.api("GET", "/servers")).status == 200
