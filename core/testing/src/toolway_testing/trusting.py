"""The plugin `trusting`, for tests only: whoever says who they are is believed.

`Authorization: Bearer is-alice` is the account `user:alice`, `is-service:bot` is `service:bot`. `installed` makes it
one that can be enabled, as a distribution of its own would be.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolway.hookspecs.auth import AuthContext, Authenticated, Authenticator, Credentials
from toolway.plugin import Kernel, Plugin, Settings, hookimpl
from toolway_testing.distributions import distributed
from toolway_testing.gateway import Answer, RunningGateway

PREFIX = "is-"
REMEMBERED_SECONDS = 30.0


def installed(directory: Path) -> Path:
    """Put a distribution into the directory, which goes onto `sys.path` or into `PYTHONPATH`."""
    return distributed(directory, "trusting", f"{__name__}:TrustingPlugin")


def bearer(name: str) -> dict[str, str]:
    """The header that says who somebody is; none for nobody."""
    return {"authorization": f"Bearer {PREFIX}{name}"} if name else {}


@dataclass
class People:
    """Who uses a gateway with this plugin."""

    gate: RunningGateway

    async def api(self, who: str, method: str, path: str, body: Any = None) -> Answer:
        """A request to the API; by the local administrator when `who` is empty."""
        return await self.gate.api(method, path, body, token=f"{PREFIX}{who}" if who else None)

    async def mcp(self, who: str, method: str, params: dict[str, Any] | None = None, server: str = "") -> Answer:
        """A modern MCP request; by nobody when `who` is empty."""
        return await self.gate.mcp(method, params, server=server, headers=bearer(who))

    async def tools(self, who: str) -> list[str]:
        """The tools that somebody sees; none when the server is refused."""
        answer = await self.mcp(who, "tools/list")
        return [tool["name"] for tool in answer.content["result"]["tools"]] if answer.status == 200 else []


class TrustingPlugin(Plugin[Settings]):
    """Registers the authenticator."""

    @hookimpl
    def toolway_authenticators(self, kernel: Kernel) -> Iterable[Authenticator]:
        """`trusting`."""
        return [Trusting(kernel)]


class Trusting:
    """Verifies nothing; accounts that are disabled or gone are refused all the same."""

    name = "trusting"

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def authenticate(self, credentials: Credentials, context: AuthContext) -> Authenticated | None:
        """See `Authenticator`."""
        if credentials.scheme != "bearer" or not credentials.value.startswith(PREFIX):
            return None
        name = credentials.value.removeprefix(PREFIX)
        account = name if ":" in name else f"user:{name}"
        principal = self._kernel.accounts.principal(account, f"trusting:{name}")
        return Authenticated(principal, self._kernel.clock.monotonic() + REMEMBERED_SECONDS, (account,))
