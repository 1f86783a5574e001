"""Calls of modern clients that wait for the client's input while the upstream keeps its legacy conversation open."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from toolway.errors import Overloaded
from toolway.mcp.errors import INVALID_PARAMS, RpcError
from toolway.mcp.messages import encode_result

if TYPE_CHECKING:
    from toolway.gateway.exchange import Exchange
    from toolway.gateway.streams import EventStream
    from toolway.hookspecs.routing import Call
    from toolway.plugin import Clock
    from toolway.plugin.kernel import Seal

PARK_SECONDS = 600.0
PER_PRINCIPAL = 16
PER_NODE = 256
PURPOSE = "request-state"


class State(msgspec.Struct, frozen=True, array_like=True):
    """What a sealed `requestState` holds: which call it continues, for whom, until when (Unix seconds).

    `parked` names a call that waits on `node`; otherwise `inner` is the upstream's own state (None: it had none).
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


def input_required(requests: dict[str, InputRequest], state: str | None) -> Raw:
    """A result that asks the client for input."""
    result: dict[str, Any] = {"resultType": "input_required"}
    if requests:
        result["inputRequests"] = requests
    if state is not None:
        result["requestState"] = state
    return Raw(msgspec.json.encode(result))


def call_digest(call: Call) -> str:
    """The digest that binds a state to its request: everything but the answers and the state itself."""
    kept = {key: value for key, value in call.params.items() if key not in ("inputResponses", "requestState")}
    return msgspec.structs.replace(call, params=kept).digest()


class Parking:
    """The calls parked on this node, and the sealed states that lead back to them."""

    def __init__(self, node: str, seal: Seal, clock: Clock) -> None:
        self._node = node
        self._seal = seal
        self._clock = clock
        self._parked: dict[str, tuple[Exchange, str]] = {}
        self._per_principal: Counter[str] = Counter()
        self._serial = 0

    def attach(self, exchange: Exchange, call: Call) -> None:
        """End the exchange's turn with `input_required` whenever its call asks something."""
        digest = call_digest(call)
        loop = asyncio.get_running_loop()

        def park_soon() -> None:
            loop.call_soon(self._park, exchange, call, digest)

        exchange.on_question = park_soon

    def seal(self, call: Call, **fields: Any) -> str:
        """A state for this call."""
        state = State(
            node=self._node,
            parked=fields.pop("parked", ""),
            principal=call.principal.id,
            server=call.server,
            method=call.method,
            digest=fields.pop("digest", None) or call_digest(call),
            expires=self._clock.now() + PARK_SECONDS,
            **fields,
        )
        return self._seal.seal(PURPOSE, msgspec.msgpack.encode(state))

    def open(self, call: Call, sealed: Raw) -> State:
        """The state that the client sent back; RpcError -32602 when it is not ours, not theirs or too old."""
        try:
            text = msgspec.json.decode(sealed, type=str)
            payload = self._seal.open(PURPOSE, text)
            state = msgspec.msgpack.decode(payload or b"", type=State)
        except msgspec.DecodeError:
            raise _bad_state() from None
        bound = (call.principal.id, call.server, call.method, call_digest(call))
        if (state.principal, state.server, state.method, state.digest) != bound or state.expires < self._clock.now():
            raise _bad_state()
        return state

    def resume(
        self, parked: str, answers: dict[str, Raw], request_id: int | str, stream: EventStream
    ) -> Exchange | None:
        """Hand the answers to the waiting call and let it reply on `stream`; None when it is not here (any more)."""
        held = self._parked.pop(parked, None)
        if held is None:
            return None
        exchange, principal = held
        self._forget(principal)
        exchange.request_id, exchange.stream = request_id, stream
        open_questions = False
        for key, question in list(exchange.questions.items()):
            if key in answers and not question.answer.done():
                question.answer.set_result(answers[key])
            else:
                open_questions = True
        if open_questions and exchange.on_question is not None:
            exchange.on_question()
        return exchange

    def expire(self, parked: str) -> None:
        """Nobody came back in time: the call ends."""
        if (held := self._parked.pop(parked, None)) is not None:
            self._forget(held[1])
            held[0].cancel()

    def drop(self, matches: Callable[[str], bool]) -> None:
        """End the parked calls of principals that `matches` names (a revoked credential)."""
        for parked, (_, principal) in list(self._parked.items()):
            if matches(principal):
                self.expire(parked)

    def _park(self, exchange: Exchange, call: Call, digest: str) -> None:
        pending = {k: InputRequest(q.method, q.params) for k, q in exchange.questions.items() if not q.answer.done()}
        if not pending or exchange.stream.closed:
            return
        principal = call.principal.id
        if len(self._parked) >= PER_NODE or self._per_principal[principal] >= PER_PRINCIPAL:
            for question in exchange.questions.values():
                question.answer.set_exception(Overloaded("too many calls wait for input; answer or cancel some first"))
            return
        self._serial += 1
        parked = f"{self._node}.{self._serial}"
        self._parked[parked] = (exchange, principal)
        self._per_principal[principal] += 1
        asyncio.get_running_loop().call_later(PARK_SECONDS, self.expire, parked)
        state = self.seal(call, parked=parked, digest=digest)
        exchange.finish(encode_result(exchange.request_id, input_required(pending, state)))

    def _forget(self, principal: str) -> None:
        self._per_principal[principal] -= 1
        if self._per_principal[principal] <= 0:
            del self._per_principal[principal]


def _bad_state() -> RpcError:
    return RpcError(INVALID_PARAMS, "requestState is not valid for this request; send the request again without it")
