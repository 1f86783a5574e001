"""References of schemes that plugins bring, such as `vault:`, resolved by a gateway that does not serve."""

from __future__ import annotations

from pathlib import Path

from toolway.hookspecs.commands import Terminal
from toolway.plugin import InvalidInput, Kernel, SecretUnavailable
from toolway_transfer.places import VARIABLE


def resolved(terminal: Terminal, config: Path | None, reference: str) -> str:
    """What stands behind the reference, by the plugins that the configuration enables; raises InvalidInput."""
    values: list[str] = []
    problems: list[str] = []

    async def look(kernel: Kernel) -> None:
        try:
            values.append(await kernel.secrets.get(reference))
        except SecretUnavailable as error:
            problems.append(error.message)

    problems += [sentence for level, sentence in terminal.inspect(config, look) if level == "error"]
    if not values:
        scheme, reason = reference.partition(":")[0], problems[0] if problems else "it has no value"
        raise InvalidInput(
            f"gateway.database is a reference of the scheme {scheme!r}, which the gateway cannot resolve now: "
            f"{reason.removeprefix('gateway.database cannot be resolved: ')}; "
            f"mend that (toolway check), or set {VARIABLE} to env:NAME or file:/path that has the URL"
        )
    return values[0]
