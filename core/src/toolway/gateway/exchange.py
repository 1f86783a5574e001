"""One client request while it is being answered: its stream, its questions to the client, its clock."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from msgspec import Raw

from toolway.errors import ClientCannot
from toolway.gateway.limits import Bound
from toolway.gateway.streams import EventStream
from toolway.hookspecs.auth import Principal, Visit
from toolway.hookspecs.routing import Call, ClientProfile, Reply
from toolway.hookspecs.structs import Mutable
from toolway.mcp.clients import check_capability
from toolway.mcp.errors import RPC_STATUS
from toolway.mcp.messages import encode_error, encode_notification, encode_result

if TYPE_CHECKING:
    from toolway.gateway.http import Answer
    from toolway.gateway.parked import State
    from toolway.gateway.sessions import ClientSession
    from toolway.hookspecs.catalog import Exposed

ASK_SECONDS = 600.0


class Pausable(msgspec.Struct, eq=False, metaclass=Mutable):
    """Deadline and slots of a call: while it waits for a person the clock stands still and others have the slots.

    `until` is the deadline, in monotonic seconds, for `task`, moved on by pauses. Most calls are over long before: its
    timer is only set by `arm`, once a call is slow; from then on it `is_watched`, also when it is tried once more.
    """

    slots: list[tuple[Bound, str]] = []
    task: asyncio.Task[Any] | None = None
    expired: bool = False
    is_watched: bool = False
    depth: int = 0
    until: float = math.inf
    left: float = math.inf
    paused: float = 0.0
    timer: asyncio.TimerHandle | None = None

    def begin(self, task: asyncio.Task[Any] | None, until: float) -> None:
        """The call may take until then; it is `task`."""
        self.task, self.until = task, until
        if self.is_watched:
            self.arm()

    def arm(self) -> None:
        """Keep the deadline from now on: cancel the task when it has passed, then `stop` says that it was this."""
        self.is_watched = True
        if self.timer is None and self.until < math.inf:
            self.timer = asyncio.get_running_loop().call_later(self.until - monotonic(), self._expire)

    def stop(self) -> bool:
        """No more deadline. True when it has passed and the cancellation that is under way is its own."""
        task, self.task, self.until = self.task, None, math.inf
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        return self.expired and task is not None and task.uncancel() == 0

    def waited(self) -> float:
        """For how many seconds it stood still."""
        return self.paused + monotonic() if self.depth else self.paused

    def pause(self) -> None:
        """Stop the clock and give the slots back; pauses nest."""
        self.depth += 1
        if self.depth == 1:
            self.left, self.until = self.until - monotonic(), math.inf
            self.paused -= monotonic()
            if self.timer is not None:
                self.timer.cancel()
                self.timer = None
            for bound, key in self.slots:
                bound.leave(key)

    def resume(self) -> None:
        """Let the clock run on once every pause is over."""
        self.depth -= 1
        if self.depth == 0:
            self.paused += monotonic()
            if self.task is not None:
                self.until = monotonic() + self.left
                self.arm()
            for bound, key in self.slots:
                bound.rejoin(key)

    def _expire(self) -> None:
        self.expired, self.timer = True, None
        if self.task is not None:
            self.task.cancel()


class Asker(Protocol):
    """How a client is asked: on its stream (legacy), or by ending the turn (modern)."""

    async def wait(self, exchange: Exchange, method: str, params: Raw) -> Raw:
        """The answer; raises ClientCannot."""


class Exchange(msgspec.Struct, eq=False, metaclass=Mutable):
    """The peer of one call. `finish` puts the reply on the stream.

    `params` is what the client sent, while those of the call change on their way. `introduction` says to modern
    upstreams who the client is. `closes` is false where the stream belongs to the session (HTTP+SSE). `found` is the
    item that the call names, where that is known already. `slow` is told when the call was not over soon.
    `refused` is why the credential is not good enough, where it is not. `progress` is what the client was told last: it
    only grows, whatever several attempts report. `headers` are more ones of the HTTP answer.
    """

    request_id: int | str
    principal: Principal
    client: ClientProfile
    introduction: dict[str, Raw]
    stream: EventStream
    asker: Asker
    session: ClientSession | None = None
    closes: bool = True
    visit: Visit | None = None
    status: int = 200
    clock: Pausable = msgspec.field(default_factory=Pausable)
    params: dict[str, Raw] = {}
    made: Call | None = None
    state: State | None = None
    task: asyncio.Task[Any] | None = None
    given_up: bool = False
    late: Reply | None = None
    found: Exposed | None = None
    slow: Answer | None = None
    refused: Exception | None = None
    progress: float = -math.inf
    headers: Mapping[str, str] = {}

    @property
    def call(self) -> Call:
        """What was begun; raises RuntimeError before."""
        if self.made is None:
            raise RuntimeError("the exchange has no call yet")
        return self.made

    def begin(self, method: str, params: dict[str, Raw], meta: dict[str, Raw], server: str) -> Call:
        """This is the call; remember its params as the client sent them."""
        session, address = (self.session.id, self.session.address) if self.session is not None else ("", "")
        self.params = params
        self.made = Call(method, params, meta, server, self.principal, self.client, self, 0.0, session, address)
        return self.made

    def digest(self) -> str:
        """Of the request as the client sent it, without answers and state: what its repetition must be equal to."""
        kept = {k: v for k, v in self.params.items() if k not in ("inputResponses", "requestState")}
        return msgspec.structs.replace(self.call, params=kept).digest()

    def notify(self, method: str, params: Mapping[str, Raw]) -> None:
        """Put a notification on the stream of this request."""
        self.stream.put(encode_notification(method, params))

    async def ask(self, method: str, params: Raw) -> Raw:
        """Ask the client; the deadline of the call stands still meanwhile. Raises ClientCannot."""
        check_capability(self.client, method, params)
        self.call.is_asked = True
        self.clock.pause()
        try:
            async with asyncio.timeout(ASK_SECONDS):
                return await self.asker.wait(self, method, params)
        except TimeoutError:
            raise ClientCannot(f"the client did not answer {method} within {ASK_SECONDS:.0f} s") from None
        finally:
            self.clock.resume()

    def is_slow(self) -> None:
        """It was not over soon: set up what only slow calls need."""
        self.clock.arm()
        if self.slow is not None:
            self.slow.is_slow()

    def end(self) -> bool:
        """The call is over. True when the client gave it up, and the cancellation that is under way says only that.

        It lets go of what refers back to it: together they would wait for the garbage collector.
        """
        if not self.clock.depth:
            for bound, key in self.clock.slots:
                bound.leave(key)
        self.clock.slots = []
        self.made = self.slow = None
        task, self.task = self.task, None
        return self.given_up and task is not None and task.uncancel() == 0

    def finish(self, reply: Reply) -> None:
        """The reply of this turn; what comes while the call is parked waits for the client to come back."""
        if self.stream.closed:
            self.late = reply
        elif reply.fault is not None:
            if self.session is None:
                self.status = RPC_STATUS.get(reply.fault.code, self.status)
            self.stream.put(encode_error(self.request_id, reply.fault), last=self.closes)
        else:
            self.stream.put(encode_result(self.request_id, reply.result or Raw(b"{}")), last=self.closes)

    def go_on(self, request_id: int | str, stream: EventStream, visit: Visit | None) -> None:
        """The next turn: the client repeated its request with answers."""
        self.request_id, self.stream, self.visit = request_id, stream, visit or self.visit
        if self.late is not None:
            self.finish(self.late)

    def cancel(self) -> None:
        """The client gave up: the call ends, with it every question; nothing is answered."""
        if self.task is not None and not self.given_up:
            self.given_up = True
            self.task.cancel()
        if self.closes:
            self.stream.close()
