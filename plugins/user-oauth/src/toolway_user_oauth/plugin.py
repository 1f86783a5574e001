"""Settings and the plugin class."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from toolway.hookspecs.api import Operation
from toolway.hookspecs.routing import RequestMiddleware
from toolway.hookspecs.secrets import UpstreamAuth
from toolway.hookspecs.system import MigrationSource, Service, SnapshotPart
from toolway.plugin import Kernel, Plugin, Seconds, Settings, hookimpl

if TYPE_CHECKING:
    from toolway_user_oauth.parts import Parts


class UserOAuthSettings(Settings):
    """How people show who they are, and how long a call waits for them."""

    proof: Literal["account", "link"] = Field(
        "account",
        description="What the consent page wants besides the link: a session or a credential of the account that it "
        "is for, or nothing (`link`; then whoever gets hold of a link can connect an account of theirs).",
    )
    patience: Seconds = Field(
        120.0, le=600, description="How long a call waits for a person who agreed to open the link, in seconds."
    )


class UserOAuthPlugin(Plugin[UserOAuthSettings]):
    """Registers everything; the parts are made when the first hook with a kernel is called."""

    _parts: Parts | None = None

    @hookimpl
    def toolway_migrations(self) -> Iterable[MigrationSource]:
        """The tables of connections."""
        from toolway_user_oauth.models import Table

        return [MigrationSource("user-oauth", "toolway_user_oauth:migrations", Table.metadata)]

    @hookimpl
    def toolway_upstream_auths(self, kernel: Kernel) -> Iterable[UpstreamAuth]:
        """`oauth-user`."""
        return [self._made(kernel).auth]

    @hookimpl
    def toolway_snapshot_parts(self, kernel: Kernel) -> Iterable[SnapshotPart]:
        """What says that connections changed."""
        from toolway_user_oauth.upkeep import Moved

        return [Moved()]

    @hookimpl
    def toolway_request_middleware(self, kernel: Kernel) -> Iterable[RequestMiddleware]:
        """Asks callers for their account."""
        return [self._made(kernel).asking]

    @hookimpl
    def toolway_routes(self, kernel: Kernel) -> Iterable[Operation]:
        """`/api/v1/connections`, and the pages for browsers."""
        parts = self._made(kernel)
        return [*parts.operations.operations(), *parts.browser.operations()]

    @hookimpl
    def toolway_services(self, kernel: Kernel) -> Iterable[Service]:
        """Removes connections that nobody can use any more."""
        return [self._made(kernel).upkeep]

    def _made(self, kernel: Kernel) -> Parts:
        from toolway_user_oauth.parts import Parts

        if self._parts is None or self._parts.kernel is not kernel:
            self._parts = Parts.of(kernel, self.settings)
        return self._parts
