"""Calls of modern clients that wait for the client's input while the upstream keeps its legacy conversation open."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from toolway.errors import Overloaded
from toolway.gateway.exchange import Exchange
from toolway.gateway.limits import Quota, Stay, Stays
from toolway.gateway.streams import EventStream
from toolway.hookspecs.auth import Visit
from toolway.hookspecs.routing import Reply
from toolway.mcp.errors import INVALID_PARAMS, RpcError
from toolway.plugin.kernel import Clock, Seal

PARK_SECONDS = 600.0
PER_PRINCIPAL = 16
PER_NODE = 256
PURPOSE = "request-state"


class State(msgspec.Struct, frozen=True, array_like=True):
    """What a sealed `requestState` holds: which call it continues, for whom, until when (Unix seconds).

    `parked` names a call that waits on `node`; otherwise `inner` is the state of `upstream` itself (None: it had none).
    """

    node: str
    parked: str
    principal: str
    server: str
    method: str
    digest: str
    expires: float
    upstream: str = ""
    inner: bytes | None = None


class InputRequired(msgspec.Struct, rename="camel"):
    """The part of a result that the gateway looks at when an upstream needs input (MCP 2026-07-28, MRTR)."""

    input_requests: dict[str, Raw] | UnsetType = UNSET
    request_state: Raw | UnsetType = UNSET


class InputRequest(msgspec.Struct):
    """One entry of `inputRequests`."""

    method: str
    params: Raw = Raw(b"{}")


class Question(msgspec.Struct, eq=False):
    """A server-to-client request that waits for the client's answer."""

    request: InputRequest
    answer: asyncio.Future[Raw]


def quota() -> Quota:
    """How many calls may be parked."""
    return Quota("calls that wait for input", PER_PRINCIPAL, PER_NODE)


class Parking(msgspec.Struct, eq=False):
    """The calls parked on this node, and the sealed states that lead back to them."""

    node: str
    ring: Seal
    clock: Clock
    stays: Stays
    questions: dict[Exchange, dict[str, Question]] = {}
    parked: dict[str, tuple[Exchange, Stay]] = {}
    serial: int = 0

    async def wait(self, exchange: Exchange, method: str, params: Raw) -> Raw:
        """End the turn of the exchange with this question, and others asked at the same time; wait for its answer."""
        self.serial += 1
        loop, key = asyncio.get_running_loop(), f"q{self.serial}"
        question = Question(InputRequest(method, params), loop.create_future())
        questions = self.questions.setdefault(exchange, {})
        questions[key] = question
        loop.call_soon(self._park, exchange)
        try:
            return await question.answer
        finally:
            del questions[key]
            if not questions:
                del self.questions[exchange]

    def seal(self, exchange: Exchange, *, parked: str = "", upstream: str = "", inner: bytes | None = None) -> str:
        """A state for the repetition of this request."""
        state = State(self.node, parked, *_bound(exchange), self.clock.now() + PARK_SECONDS, upstream, inner)
        return self.ring.seal(PURPOSE, msgspec.msgpack.encode(state))

    def open(self, exchange: Exchange, sealed: Raw) -> State:
        """The state that the client sent back; RpcError -32602 when it is not ours, not theirs or too old."""
        try:
            payload = self.ring.open(PURPOSE, msgspec.json.decode(sealed, type=str))
            state = msgspec.msgpack.decode(payload or b"", type=State)
        except msgspec.DecodeError:
            raise bad_state() from None
        bound = (state.principal, state.server, state.method, state.digest)
        if bound != _bound(exchange) or state.expires < self.clock.now():
            raise bad_state()
        return state

    def resume(
        self,
        parked: str,
        answers: dict[str, Raw],
        request_id: int | str,
        stream: EventStream,
        visit: Visit | None = None,
    ) -> Exchange:
        """Hand the answers to the waiting call and let it reply on `stream`; asks again what is not answered.

        Raises:
            RpcError: -32602, it is not here any more: answered already, or expired.
        """
        if parked not in self.parked:
            raise RpcError(INVALID_PARAMS, "this requestState was answered already or has expired")
        exchange = self._unpark(parked)
        exchange.go_on(request_id, stream, visit)
        for key, question in self.questions.get(exchange, {}).items():
            if key in answers and not question.answer.done():
                question.answer.set_result(answers[key])
        asyncio.get_running_loop().call_soon(self._park, exchange)
        return exchange

    def _unpark(self, parked: str) -> Exchange:
        exchange, stay = self.parked.pop(parked)
        self.stays.leave(stay)
        return exchange

    def _expire(self, parked: str) -> None:
        self._unpark(parked).cancel()

    def _park(self, exchange: Exchange) -> None:
        questions = self.questions.get(exchange, {})
        pending = {key: each for key, each in questions.items() if not each.answer.done()}
        if not pending or exchange.stream.closed:
            return
        self.serial += 1
        parked = f"{self.node}.{self.serial}"
        try:
            stay = self.stays.begin(exchange.principal, exchange.visit, partial(self._expire, parked))
        except Overloaded as error:
            for question in pending.values():
                question.answer.set_exception(error)
            return
        self.parked[parked] = exchange, stay
        requests = {key: question.request for key, question in pending.items()}
        exchange.finish(input_required(requests, self.seal(exchange, parked=parked)))


def input_required(requests: dict[str, Any], state: str) -> Reply:
    """A result that asks the client for input."""
    asked = {"inputRequests": requests} if requests else {}
    result = {"resultType": "input_required", **asked, "requestState": state}
    return Reply(Raw(msgspec.json.encode(result)), kind="input_required")


def bad_state() -> RpcError:
    """A requestState that does not belong to this request."""
    return RpcError(INVALID_PARAMS, "requestState is not valid for this request; send the request again without it")


def _bound(exchange: Exchange) -> tuple[str, str, str, str]:
    call = exchange.call
    return call.principal.id, call.server, call.method, exchange.digest()
