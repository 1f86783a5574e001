"""The plugin `somebody`, for these tests only: whoever says `Authorization: Bearer is-alice` is `user:alice`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from toolway.hookspecs.auth import AuthContext, Authenticated, Authenticator, Credentials, Principal
from toolway.hookspecs.permissions import Limits
from toolway.plugin import Plugin, Settings, Unauthenticated, hookimpl

PREFIX = "is-"


def installed(directory: Path) -> Path:
    """Put a distribution into the directory, which goes onto `sys.path`."""
    info = directory / "toolway_somebody-1.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toolway-somebody\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[toolway.plugins]\nsomebody = {__name__}:SomebodyPlugin\n")
    return directory


def bearer(name: str) -> dict[str, str]:
    """The header that says who somebody is; none for nobody."""
    return {"authorization": f"Bearer {PREFIX}{name}"} if name else {}


class SomebodyPlugin(Plugin[Settings]):
    """Registers the authenticator."""

    @hookimpl
    def toolway_authenticators(self) -> Iterable[Authenticator]:
        return [Somebody()]


class Somebody:
    """`is-alice` is `user:alice`; `is-alice+once` is a one-time credential, `is-alice+narrow` one that is limited.

    `is-key+local` is good on servers only, as a key of a server is.
    """

    name = "somebody"

    async def authenticate(self, credentials: Credentials, context: AuthContext) -> Authenticated | None:
        if not credentials.value.startswith(PREFIX):
            return None
        name, _, kind = credentials.value.removeprefix(PREFIX).partition("+")
        if kind == "local" and context.server is None:
            raise Unauthenticated("this is good on servers only; send it there")
        limits = Limits(scopes=("tools:call:nothing/*",)) if kind == "narrow" else None
        principal = Principal(f"user:{name}", "user", name, credential=f"somebody:{name}", limits=limits)
        return Authenticated(principal if kind != "once" else _once(principal))


def _once(principal: Principal) -> Principal:
    return Principal(principal.id, principal.kind, principal.name, credential=principal.credential, single_use=True)
