"""One client request while it is being answered: its stream, its questions to the client, its clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw

from toolway.errors import ClientCannot
from toolway.gateway.streams import EventStream
from toolway.hookspecs.routing import ClientProfile
from toolway.mcp.messages import encode_notification

if TYPE_CHECKING:
    from toolway.gateway.sessions import ClientSession

ASK_SECONDS = 600.0
NEEDED = {"elicitation/create": "elicitation", "sampling/createMessage": "sampling", "roots/list": "roots"}


class Question(msgspec.Struct, eq=False):
    """A server-to-client request that waits for the client's answer."""

    method: str
    params: Raw
    answer: asyncio.Future[Raw]


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
    """The deadline of a call: it stands still while the call waits for a person."""

    __slots__ = ("_depth", "_left", "_timer", "on_pause", "on_resume")

    def __init__(self) -> None:
        self._depth = 0
        self._timer: asyncio.Timeout | None = None
        self._left = 0.0
        self.on_pause: Callable[[], None] | None = None
        self.on_resume: Callable[[], None] | None = None

    def started(self, timer: asyncio.Timeout | None) -> None:
        """Follow this timer from now on."""
        self._timer = timer

    def pause(self) -> None:
        """Stop the clock and give the in-flight slot back; pauses nest."""
        self._depth += 1
        if self._timer is not None and (when := self._timer.when()) is not None:
            self._left = when - asyncio.get_running_loop().time()
            self._timer.reschedule(None)
            if self.on_pause:
                self.on_pause()

    def resume(self) -> None:
        """Let the clock run on once every pause is over."""
        self._depth -= 1
        if self._depth == 0 and self._timer is not None and self._timer.when() is None:
            self._timer.reschedule(asyncio.get_running_loop().time() + self._left)
            if self.on_resume:
                self.on_resume()


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
        self.task: asyncio.Task[None] | None = None
        self.on_question: Callable[[], None] | None = None
        self._asked = 0

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
                return await self._park(method, params)
        except TimeoutError:
            raise ClientCannot(f"the client did not answer {method} within {ASK_SECONDS:.0f} s") from None
        finally:
            self.clock.resume()

    def finish(self, message: bytes, status: int = 200) -> None:
        """The reply of this turn."""
        self.status = status
        self.stream.put(message)
        if self.closes:
            self.stream.close()

    def cancel(self) -> None:
        """The client gave up: the call ends, with it every question; nothing is answered."""
        if self.task is not None:
            self.task.cancel()
        if self.closes:
            self.stream.close()

    async def _park(self, method: str, params: Raw) -> Raw:
        if self.on_question is None:
            raise ClientCannot(f"{method} cannot be asked outside of a call")
        self._asked += 1
        key = f"q{self._asked}"
        question = Question(method, params, asyncio.get_running_loop().create_future())
        self.questions[key] = question
        self.on_question()
        try:
            return await question.answer
        finally:
            self.questions.pop(key, None)
