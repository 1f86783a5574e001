"""The upstream kinds `http` and `stdio`, and the upstream auths."""

from __future__ import annotations

from collections.abc import Iterable

from toolway.hookspecs.routing import UpstreamKind
from toolway.hookspecs.secrets import UpstreamAuth
from toolway.plugin import Kernel, Plugin, Settings, hookimpl


class UpstreamsPlugin(Plugin[Settings]):
    """Heavy imports wait until a hook is called."""

    @hookimpl
    def toolway_upstream_kinds(self, kernel: Kernel) -> Iterable[UpstreamKind]:
        """`http` and `stdio`."""
        from toolway.bundled.upstreams.http import HttpKind
        from toolway.bundled.upstreams.stdio import StdioKind

        return [HttpKind(kernel.http, kernel.secrets), StdioKind(kernel.secrets)]

    @hookimpl
    def toolway_upstream_auths(self, kernel: Kernel) -> Iterable[UpstreamAuth]:
        """`header`, `bearer`, `basic` and `client-credentials`."""
        from toolway.bundled.upstreams import auth

        simple = (auth.HeaderProvider, auth.BearerProvider, auth.BasicProvider)
        credentials = auth.ClientCredentialsProvider(kernel.http, kernel.secrets, kernel.clock)
        return [*(provider(kernel.secrets) for provider in simple), credentials]
