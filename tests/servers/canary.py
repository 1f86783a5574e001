"""Secrets that look like nothing, and the plugin `canary`: each of its providers fails and says them.

A provider fails for requests whose header `x-canary` has its name; what is no part of a request always fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import logging
import os
import random
import string
import threading
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from toolway.hookspecs.api import PUBLIC, Incoming, Operation
from toolway.hookspecs.attempts import AttemptWatcher, EndpointFilter, Narrowed, Policy, PolicyAdjuster
from toolway.hookspecs.auth import AuthContext, Authenticated, Authenticator, Authorizer, Credentials, Decision
from toolway.hookspecs.routing import CALL_METHODS, Call, CallNext, Endpoint, Reply, RequestMiddleware, Upstream
from toolway.hookspecs.secrets import Secret, SecretScheme
from toolway.hookspecs.system import ChangeRecorder, HealthCheck, Service
from toolway.hookspecs.telemetry import SERVED, CallWatcher, Diagnostic, RequestWatcher
from toolway.plugin import Kernel, Plugin, Settings, UpstreamError, hookimpl
from toolway_testing.distributions import distributed

log = logging.getLogger("canary")

PROVIDERS = (
    *("authenticator", "authorizer", "request watcher", "api watcher", "call watcher", "middleware", "filter"),
    *("attempt watcher", "policy", "route", "recorder", "upstream error", "log"),
)
"""Those that a request can ask to fail; health check, service, gauge and secret scheme fail anyway."""
TOKEN = "ghp_" + "c4N4rY" * 6
"""Known by its form."""


def planted(where: str) -> str:
    """A new secret that names where it was planted, and of which nothing else is known."""
    return f"Canary{where}{''.join(random.choices(string.ascii_letters + string.digits, k=24))}"


def installed(directory: Path) -> Path:
    """Put a distribution into the directory, which goes into `PYTHONPATH` beside that of this file."""
    return distributed(directory, "canary", f"{__name__}:CanaryPlugin")


@contextlib.contextmanager
def collector() -> Iterator[tuple[str, list[str]]]:
    """Receives what is exported: its address, and the texts of all bodies."""
    bodies: list[str] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            bodies.append(body.decode("utf-8", "replace"))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            """Nothing is logged."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", bodies
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def sing(who: str) -> None:
    """Fail, with everything that a careless programmer could have at hand, if this is asked for."""
    if (request := SERVED.get()) is None:
        return
    headers = {name.decode(): value.decode("latin-1") for name, value in request.scope["headers"]}
    if headers.get("x-canary") == who:
        raise Sung(who, headers)


class Sung(Exception):
    """Its text has the resolved secrets, the credential of the request and a token of a known form."""

    def __init__(self, who: str, headers: Mapping[str, str]) -> None:
        sent = {name: value for name, value in headers.items() if name in ("authorization", "x-api-key", "cookie")}
        super().__init__(f"{who} broke on {os.environ['CANARY_ENV']} with {sent} and {list(sent.values())} {TOKEN}")


class Bird:
    """Every provider that a request can ask to fail."""

    name = "canary"
    methods: ClassVar[frozenset[str]] = CALL_METHODS
    complete = False

    def __init__(self, kind: str) -> None:
        self._kind = kind

    async def authenticate(self, credentials: Credentials, context: AuthContext) -> Authenticated | None:
        sing("authenticator")
        return None

    def decide(self, principal: Any, action: str, resource: Any) -> Decision:
        sing("authorizer")
        return Decision.ABSTAIN

    def visibility(self, principal: Any, server: str) -> str:
        return ""

    def begin(self, what: Any) -> Any:
        sing(self._kind)

    def done(self, *what: Any) -> None:
        """Nothing."""

    async def __call__(self, call: Call, call_next: CallNext) -> Reply:
        sing("middleware")
        try:
            sing("upstream error")
        except Sung as sung:
            raise UpstreamError(f"the upstream says {sung}") from sung
        with contextlib.suppress(Sung):
            sing("log")
            return await call_next(call)
        log.warning("calling %s", Sung("log", {"authorization": TOKEN}), extra={"password": os.environ["CANARY_ENV"]})
        return await call_next(call)

    def narrow(self, upstream: Upstream, endpoints: Sequence[Endpoint], call: Call) -> Narrowed:
        sing("filter")
        return Narrowed(endpoints)

    def adjust(self, policy: Policy, upstream: Upstream, call: Call) -> Policy:
        sing("policy")
        return policy

    async def record(self, change: Any) -> None:
        sing("recorder")

    async def route(self, incoming: Incoming) -> Any:
        """Break."""
        sing("route")
        return {}


class BrokenCheck:
    """A health check that fails itself."""

    name = "canary-broken"
    critical = False

    async def check(self) -> str:
        raise Sung("health check", {})


class TellingCheck:
    """A health check that says too much."""

    name = "canary-telling"
    critical = False

    async def check(self) -> str:
        return f"broken: {os.environ['CANARY_ENV']} {TOKEN}"


class TellingDiagnostic:
    """Tells too much of itself."""

    name = "canary"

    async def collect(self) -> Any:
        return {"secret": os.environ["CANARY_ENV"], TOKEN: [f"broken: {os.environ['CANARY_ENV']} {TOKEN}"]}


class BrokenScheme:
    """`canary:anything` cannot be resolved."""

    scheme = "canary"

    async def resolve(self, reference: str) -> Secret:
        raise Sung("secret scheme", {})


class BrokenService:
    """Ends with an error in the background, and logs what does not fit."""

    name = "canary"

    def __init__(self, kernel: Kernel) -> None:
        kernel.metrics.sampled("toolway_canary", "Broken.", self._read)

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._fail())
        yield
        with contextlib.suppress(Sung):
            await task

    async def _fail(self) -> None:
        log.error("service broke", exc_info=Sung("service", {}))
        raise Sung("background", {})

    def _read(self) -> float:
        raise Sung("gauge", {})


class CanaryPlugin(Plugin[Settings]):
    """Registers all of them."""

    @hookimpl
    def toolway_authenticators(self, kernel: Kernel) -> Iterable[Authenticator]:
        return [Bird("authenticator")]

    @hookimpl
    def toolway_authorizers(self, kernel: Kernel) -> Iterable[Authorizer]:
        return [Bird("authorizer")]

    @hookimpl
    def toolway_request_watchers(self, kernel: Kernel) -> Iterable[RequestWatcher]:
        return [Bird("request watcher")]

    @hookimpl
    def toolway_api_watchers(self, kernel: Kernel) -> Iterable[RequestWatcher]:
        return [Bird("api watcher")]

    @hookimpl
    def toolway_call_watchers(self, kernel: Kernel) -> Iterable[CallWatcher]:
        return [Bird("call watcher")]

    @hookimpl
    def toolway_attempt_watchers(self, kernel: Kernel) -> Iterable[AttemptWatcher]:
        return [Bird("attempt watcher")]

    @hookimpl
    def toolway_request_middleware(self, kernel: Kernel) -> Iterable[RequestMiddleware]:
        return [Bird("middleware")]

    @hookimpl
    def toolway_endpoint_filters(self, kernel: Kernel) -> Iterable[EndpointFilter]:
        return [Bird("filter")]

    @hookimpl
    def toolway_policies(self, kernel: Kernel) -> Iterable[PolicyAdjuster]:
        return [Bird("policy")]

    @hookimpl
    def toolway_change_recorders(self, kernel: Kernel) -> Iterable[ChangeRecorder]:
        return [Bird("recorder")]

    @hookimpl
    def toolway_routes(self, kernel: Kernel) -> Iterable[Operation]:
        return [Operation("GET", "/api/v1/canary", PUBLIC, Bird("route").route)]

    @hookimpl
    def toolway_health_checks(self, kernel: Kernel) -> Iterable[HealthCheck]:
        return [BrokenCheck(), TellingCheck()]

    @hookimpl
    def toolway_diagnostics(self, kernel: Kernel) -> Iterable[Diagnostic]:
        return [TellingDiagnostic()]

    @hookimpl
    def toolway_secret_schemes(self, kernel: Kernel) -> Iterable[SecretScheme]:
        return [BrokenScheme()]

    @hookimpl
    def toolway_services(self, kernel: Kernel) -> Iterable[Service]:
        return [BrokenService(kernel)]
