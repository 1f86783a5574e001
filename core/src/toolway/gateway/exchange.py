"""One client request while it is being answered: its stream, its questions to the client, its clock."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw

from toolway.errors import ClientCannot
from toolway.gateway.limits import Slot
from toolway.gateway.streams import EventStream
from toolway.hookspecs.auth import Principal
from toolway.hookspecs.routing import Call, ClientProfile, Reply
from toolway.mcp.messages import encode_error, encode_notification, encode_result

if TYPE_CHECKING:
    from toolway.gateway.parked import Parking, Question, State
    from toolway.gateway.sessions import ClientSession

ASK_SECONDS = 600.0
NEEDED = {"elicitation/create": "elicitation", "sampling/createMessage": "sampling", "roots/list": "roots"}
RPC_STATUS = {-32700: 400, -32600: 400, -32601: 404, -32602: 400, -32020: 400, -32021: 400, -32022: 400}
"""HTTP status of a modern error reply (MCP 2026-07-28, transports); 200 for all others."""


def check_capability(client: ClientProfile, method: str, params: Raw) -> None:
    """Raise ClientCannot unless the client declared what `method` needs (URL elicitation needs `elicitation.url`)."""
    capability = NEEDED.get(method)
    declared = client.capabilities.get(capability) if capability else None
    if declared is None:
        raise ClientCannot(f"the client did not declare what {method} needs", capability=capability or method)
    if capability == "elicitation" and b'"url"' in bytes(params):
        mode = msgspec.json.decode(params).get("mode", "form")
        if mode == "url" and "url" not in declared:
            raise ClientCannot("the client did not declare URL elicitation", capability="elicitation.url")


class Pausable:
    """Deadline and slots of a call: while it waits for a person the clock stands still and others have the slots."""

    __slots__ = ("_depth", "_left", "_slots", "_timer")

    def __init__(self) -> None:
        self._depth = 0
        self._left = 0.0
        self._slots: list[Slot] = []
        self._timer: asyncio.Timeout | None = None

    def hold(self, slot: Slot) -> None:
        """Keep a slot until the call ends."""
        self._slots.append(slot)

    def started(self, timer: asyncio.Timeout | None) -> None:
        """Follow this timer from now on."""
        self._timer = timer

    def pause(self) -> None:
        """Stop the clock and give the slots back; pauses nest."""
        self._depth += 1
        if self._depth == 1:
            if self._timer is not None and (when := self._timer.when()) is not None:
                self._left = when - asyncio.get_running_loop().time()
                self._timer.reschedule(None)
            for slot in self._slots:
                slot.leave()

    def resume(self) -> None:
        """Let the clock run on once every pause is over."""
        self._depth -= 1
        if self._depth == 0:
            if self._timer is not None and self._timer.when() is None:
                self._timer.reschedule(asyncio.get_running_loop().time() + self._left)
            for slot in self._slots:
                slot.rejoin()

    def end(self) -> None:
        """The call is over, whatever it still asks."""
        for slot in self._slots:
            slot.leave()
        self._slots, self._timer = [], None


class Exchange:
    """The peer of one call. Legacy clients are asked on the stream, modern ones by ending the turn.

    `finish` puts the reply on the stream; `closes` is false where the stream belongs to the session (HTTP+SSE).
    """

    def __init__(
        self,
        request_id: int | str,
        client: ClientProfile,
        stream: EventStream,
        session: ClientSession | None = None,
        parking: Parking | None = None,
        *,
        closes: bool = True,
    ) -> None:
        self.request_id = request_id
        self.client = client
        self.stream = stream
        self.session = session
        self.closes = closes
        self.status = 200
        self.clock = Pausable()
        self.questions: dict[str, Question] = {}
        self.asked = 0
        self.state: State | None = None
        self.call: Call
        self.params: dict[str, Raw] = {}
        self.task: asyncio.Task[None] | None = None
        self._parking = parking
        self._late: Reply | None = None

    @property
    def principal(self) -> Principal:
        """Who is asking."""
        return self.call.principal

    def begin(self, call: Call) -> None:
        """This is the call; remember its params as the client sent them."""
        self.call, self.params, call.peer = call, call.params, self

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
        self.clock.pause()
        try:
            async with asyncio.timeout(ASK_SECONDS):
                if self.session is not None:
                    return await self.session.ask(method, params, self.stream)
                if self._parking is not None:
                    return await self._parking.wait(self, method, params)
                raise ClientCannot(f"{method} cannot be asked outside of a call")
        except TimeoutError:
            raise ClientCannot(f"the client did not answer {method} within {ASK_SECONDS:.0f} s") from None
        finally:
            self.clock.resume()

    def finish(self, reply: Reply) -> None:
        """The reply of this turn; what comes while the call is parked waits for the client to come back."""
        if self.stream.closed:
            self._late = reply
            return
        if reply.fault is not None:
            self.status = RPC_STATUS.get(reply.fault.code, self.status) if self.session is None else self.status
            self.stream.put(encode_error(self.request_id, reply.fault))
        else:
            self.stream.put(encode_result(self.request_id, reply.result or Raw(b"{}")))
        if self.closes:
            self.stream.close()

    def go_on(self, request_id: int | str, stream: EventStream) -> None:
        """The next turn: the client repeated its request with answers."""
        self.request_id, self.stream = request_id, stream
        if self._late is not None:
            self.finish(self._late)

    def cancel(self) -> None:
        """The client gave up: the call ends, with it every question; nothing is answered."""
        if self.task is not None:
            self.task.cancel()
        if self.closes:
            self.stream.close()
