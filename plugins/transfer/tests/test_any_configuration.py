"""Whatever can be declared is exported, imported elsewhere and exported again as the same bytes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from configurations import INSTALLED, configurations
from emptying import Emptied
from generated import generated
from hypothesis import given
from transferring import KEY, PASSPHRASE, exported, imported

from toolway_testing.gateway import RunningGateway, StartGateway
from toolway_transfer.envelope import Envelope, seal, unseal
from toolway_transfer.export_command import formatted

EXAMPLES = 20


async def taken_along(gate: RunningGateway) -> tuple[dict[str, Any], dict[str, Any]]:
    """The document without credentials, and these."""
    made = await exported(gate, recipients=[KEY.as_dict(private=False)])
    return made, unseal(Envelope.model_validate(made.pop("credentials")), None, KEY)


def refusals(report: dict[str, Any]) -> str:
    """What was not taken, or lacks a credential."""
    wrong = [row for row in report["objects"] if row["action"] == "failed" or row["missing"]]
    return "\n".join(f"{row['kind']}/{row['name']}: {row['reason']} {row['missing']}" for row in wrong)


@pytest.mark.timeout(400)
async def test_any_configuration_comes_through_unchanged(gateway: StartGateway) -> None:
    gate = await gateway(enable=["transfer", *INSTALLED], plugins={"transfer": {"allow_programs": True}})
    empty, loop = await Emptied.of(gate), asyncio.get_running_loop()

    async def check(file: dict[str, Any]) -> None:
        assert refusals(await imported(gate, file, trusted=True)) == ""
        first, credentials = await taken_along(gate)
        await empty()
        whole = {**first}
        if credentials:
            whole["credentials"] = seal(credentials, PASSPHRASE, (), is_random=True).model_dump(mode="json")
        assert refusals(await imported(gate, whole, passphrase=PASSPHRASE, trusted=True)) == ""
        second, again = await taken_along(gate)
        await empty()
        assert formatted(first) == formatted(second) and credentials == again

    @generated(EXAMPLES)
    @given(configurations())
    def every(file: dict[str, Any]) -> None:
        asyncio.run_coroutine_threadsafe(check(file), loop).result(120)

    await asyncio.to_thread(every)
