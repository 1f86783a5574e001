"""How a call is tried: which endpoint, how often and how long, and who learns from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from toolway.hookspecs.markers import hookspec
from toolway.hookspecs.routing import Call, Endpoint, Reply, Upstream
from toolway.hookspecs.structs import Mutable

if TYPE_CHECKING:
    from toolway.plugin import Kernel


class Attempt(msgspec.Struct, eq=False, metaclass=Mutable):
    """One try of a call on one endpoint; `error` is set when it failed, `seconds` when it ended, which was at `ended`.

    `reply` is what the upstream answered, a fault too; both are None for one that was cancelled. `seconds` are without
    waiting for a person, `ended` is monotonic. That it `is_repeated` is set when it failed and another attempt is to
    follow; a watcher may unset it. One that `is_hedge` runs beside another one that is late.
    """

    call: Call
    upstream: Upstream
    endpoint: Endpoint
    number: int = 1
    seconds: float = 0.0
    error: Exception | None = None
    reply: Reply | None = None
    is_repeated: bool = False
    is_hedge: bool = False
    ended: float = 0.0


class Balancer(Protocol):
    """Chooses among the endpoints of an upstream."""

    name: str

    def pick(self, endpoints: Sequence[Endpoint], call: Call) -> Endpoint:
        """Choose one; `endpoints` is never empty."""

    def done(self, attempt: Attempt) -> None:
        """Learn how an attempt that was picked here ended."""


class Narrowed(msgspec.Struct, frozen=True):
    """What is left of some endpoints. If nothing is, `refused` says why and `retry_after` for how many seconds."""

    endpoints: Sequence[Endpoint]
    refused: str = ""
    retry_after: float = 0.0


class EndpointFilter(Protocol):
    """Leaves out endpoints before one of them is chosen."""

    name: str

    def narrow(self, upstream: Upstream, endpoints: Sequence[Endpoint], call: Call) -> Narrowed:
        """What is left of `endpoints`, which are never empty; a conversation that is bound to one has only that one."""


class AttemptWatcher(Protocol):
    """Sees every attempt, in memory and at once. Subclasses leave out what they do not want to hear of."""

    name: str

    def begin(self, attempt: Attempt) -> None:
        """It is about to be made; raising an UpstreamError refuses it, and the next endpoint is tried."""
        return

    def done(self, attempt: Attempt) -> None:
        """It ended; called for each that was begun, or refused by somebody; may prevent the next one."""
        return


class Policy(msgspec.Struct, frozen=True):
    """Bounds of a call on one upstream: seconds for `first_byte`, `total` and `queue_wait`, counts for the rest.

    Before the n-th repetition the gateway waits for a random time of up to `backoff` * 2**(n-1) seconds (full jitter),
    or as long as the upstream said. When nothing came after `hedge_after` seconds, what changes nothing is tried on a
    second endpoint at the same time; 0 is never. A call that `is_hurried` has its `total` from its client: that it is
    over says nothing about the endpoint, and its attempts end as if they were cancelled.
    """

    first_byte: float = 30.0
    total: float = 60.0
    retries: int = 2
    in_flight: int = 64
    queue: int = 128
    queue_wait: float = 1.0
    backoff: float = 0.0
    hedge_after: float = 0.0
    is_hurried: bool = False


class PolicyAdjuster(Protocol):
    """A link of the chain that makes the policy of a call."""

    name: str

    def adjust(self, policy: Policy, upstream: Upstream, call: Call) -> Policy:
        """Return the policy to use, usually `msgspec.structs.replace(policy, …)`."""


@hookspec
def toolway_balancers(kernel: Kernel) -> Iterable[Balancer]:
    """Offer ways to choose an endpoint; one acts, chosen by `gateway.balancer`.

    Called: once, when the gateway is built.
    Used: for every attempt on an upstream with more than one endpoint.
    On error: the attempt fails.
    Since: 1.0
    """


@hookspec
def toolway_endpoint_filters(kernel: Kernel) -> Iterable[EndpointFilter]:
    """Offer to leave out endpoints, such as those that fail.

    Called: once, when the gateway is built.
    Used: for every attempt, in the order of `plugins.enable`, before the balancer.
    On error: the call fails.
    Since: 1.0
    """


@hookspec
def toolway_attempt_watchers(kernel: Kernel) -> Iterable[AttemptWatcher]:
    """Offer to learn from attempts, or to refuse some.

    Called: once, when the gateway is built.
    Used: for every attempt, in the order of `plugins.enable`.
    On error: the call fails.
    Since: 1.0
    """


@hookspec
def toolway_policies(kernel: Kernel) -> Iterable[PolicyAdjuster]:
    """Offer links of the chain that makes timeouts, retries and bounds.

    Called: once, when the gateway is built.
    Used: for every call, in the order of `plugins.enable`, after the built-in one.
    On error: the call fails.
    Since: 1.0
    """
