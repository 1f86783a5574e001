"""Exports and imports through the API of a gateway."""

from __future__ import annotations

from typing import Any

from joserfc.jwk import ECKey

from toolway_testing.gateway import RunningGateway
from toolway_transfer.envelope import Envelope, seal, unseal

PASSPHRASE = "correct horse battery staple"


KEY = ECKey.generate_key("P-256")
"""For exports of tests: quicker than a passphrase."""


async def exported_with_credentials(gate: RunningGateway) -> dict[str, Any]:
    """The document with what opens with `PASSPHRASE`."""
    made = await exported(gate, recipients=[KEY.as_dict(private=False)])
    values = unseal(Envelope.model_validate(made["credentials"]), None, KEY)
    return {**made, "credentials": seal(values, PASSPHRASE, (), is_random=True).model_dump(mode="json")}


def document(**objects: Any) -> dict[str, Any]:
    """An export with these objects."""
    return {"format": "toolway-export", "version": 1, "objects": objects}


async def exported(gate: RunningGateway, *what: str, **order: Any) -> dict[str, Any]:
    """The document."""
    answer = await gate.api("POST", "/export", {"what": list(what), **order})
    assert answer.status == 200, answer.content
    return dict(answer.content)


async def imported(gate: RunningGateway, file: Any, **order: Any) -> dict[str, Any]:
    """The report."""
    answer = await gate.api("POST", "/import", {"document": file, **order})
    assert answer.status == 200, answer.content
    return dict(answer.content)


def only_row(report: dict[str, Any]) -> dict[str, Any]:
    """What became of the one object."""
    (row,) = report["objects"]
    return dict(row)


def actions(report: dict[str, Any]) -> dict[str, str]:
    """What became of each."""
    return {f"{row['kind']}/{row['name']}": row["action"] for row in report["objects"]}
