"""Where eras differ: `input_required` becomes questions to a legacy client, errors change their code."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET, Raw

from toolway.errors import ClientCannot, UpstreamProtocol
from toolway.gateway.parked import InputRequest, InputRequired, input_required
from toolway.hookspecs.routing import Call, Era, Reply, RpcFault
from toolway.mcp.errors import INVALID_PARAMS, RESOURCE_NOT_FOUND_LEGACY, URL_ELICITATION_LEGACY

if TYPE_CHECKING:
    from toolway.gateway.exchange import Exchange
    from toolway.gateway.parked import Parking

Send = Callable[[dict[str, Raw]], Awaitable[Reply]]
ROUNDS = 16


class Conversation:
    """One call on one leg, from the first request to the reply that the client can read."""

    def __init__(self, call: Call, exchange: Exchange, parking: Parking, era: Era) -> None:
        self._call = call
        self._exchange = exchange
        self._parking = parking
        self._era = era

    async def run(self, send: Send) -> Reply:
        """Send, answer what the upstream asks, translate; raises UpstreamError and ClientCannot."""
        params = self._call.params
        for _ in range(ROUNDS):
            reply = await send(params)
            if reply.kind == "complete":
                return self._translated(reply)
            if reply.kind != "input_required" or reply.result is None:
                raise UpstreamProtocol(f"the upstream answered with the unknown resultType {reply.kind!r}")
            wanted = msgspec.json.decode(reply.result, type=InputRequired)
            if self._call.client.era == "modern":
                return self._passed_on(wanted)
            params = await self._answered(params, wanted)
        raise UpstreamProtocol(f"the upstream asked for input more than {ROUNDS} times")

    def _passed_on(self, wanted: InputRequired) -> Reply:
        inner = None if wanted.request_state is UNSET else bytes(wanted.request_state)
        target = self._call.target
        state = self._parking.seal(self._call, upstream=target.upstream if target else "", inner=inner)
        requests = {} if wanted.input_requests is UNSET else wanted.input_requests
        result: dict[str, Any] = {"resultType": "input_required", "requestState": state}
        if requests:
            result["inputRequests"] = requests
        return Reply(Raw(msgspec.json.encode(result)), kind="input_required")

    async def _answered(self, params: dict[str, Raw], wanted: InputRequired) -> dict[str, Raw]:
        requests = {} if wanted.input_requests is UNSET else wanted.input_requests
        asked = {key: msgspec.json.decode(raw, type=InputRequest) for key, raw in requests.items()}
        async with asyncio.TaskGroup() as group:
            answers = {
                key: group.create_task(self._exchange.ask(request.method, request.params))
                for key, request in asked.items()
            }
        again = {**params, "inputResponses": Raw(msgspec.json.encode({k: t.result() for k, t in answers.items()}))}
        if wanted.request_state is UNSET:
            again.pop("requestState", None)
        else:
            again["requestState"] = wanted.request_state
        return again

    def _translated(self, reply: Reply) -> Reply:
        modern = self._call.client.era == "modern"
        if reply.fault is not None:
            if modern and reply.fault.code == URL_ELICITATION_LEGACY:
                return self._url_elicitation(reply.fault)
            if modern and reply.fault.code == RESOURCE_NOT_FOUND_LEGACY:
                reply.fault = msgspec.structs.replace(reply.fault, code=INVALID_PARAMS)
        elif modern and self._era == "legacy" and reply.result is not None:
            reply.result = as_modern(reply.result, cacheable=self._call.method == "resources/read")
        return reply

    def _url_elicitation(self, fault: RpcFault) -> Reply:
        data = msgspec.json.decode(fault.data) if fault.data is not UNSET else {}
        wanted = data.get("elicitations", []) if isinstance(data, dict) else []
        if "url" not in (self._call.client.capabilities.get("elicitation") or {}):
            raise ClientCannot("the tool needs URL elicitation, which the client did not declare")
        requests = {
            f"url{number}": InputRequest("elicitation/create", Raw(msgspec.json.encode(_without_id(entry))))
            for number, entry in enumerate(wanted)
        }
        return Reply(input_required(requests, self._parking.seal(self._call)), kind="input_required")


def as_modern(result: Raw, *, cacheable: bool) -> Raw:
    """A legacy result with what the modern era requires; the values stay byte for byte."""
    fields: dict[str, Any] = msgspec.json.decode(result, type=dict[str, Raw])
    fields["resultType"] = "complete"
    if cacheable:
        fields.update(ttlMs=0, cacheScope="private")
    return Raw(msgspec.json.encode(fields))


def _without_id(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != "elicitationId"}
