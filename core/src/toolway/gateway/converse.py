"""Where eras differ: `input_required` becomes questions to a legacy client, errors change their code."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, Raw

from toolway.errors import ClientCannot, UpstreamProtocol
from toolway.gateway.exchange import Exchange, check_capability
from toolway.gateway.parked import InputRequest, InputRequired, Parking, input_required
from toolway.hookspecs.routing import Call, Era, Reply, RpcFault
from toolway.mcp.errors import INVALID_PARAMS, RESOURCE_NOT_FOUND_LEGACY, URL_ELICITATION_LEGACY
from toolway.mcp.messages import split_meta
from toolway.mcp.versions import SERVER_INFO_KEY

Send = Callable[[dict[str, Raw]], Awaitable[Reply]]
T = TypeVar("T")
ROUNDS = 16


class Conversation(msgspec.Struct, frozen=True, eq=False):
    """One call on one leg, from the first request to the reply that the client can read."""

    call: Call
    exchange: Exchange
    parking: Parking
    era: Era
    identity: Mapping[str, object]
    shared: bool
    """Whether the virtual server shows everybody the same: only then may copies of results be shared."""

    async def run(self, send: Send) -> Reply:
        """Send, answer what the upstream asks, translate; raises UpstreamError and ClientCannot."""
        params = self.call.params
        for _ in range(ROUNDS):
            reply = await send(params)
            if reply.kind == "complete":
                return self._translated(reply)
            if reply.kind != "input_required" or reply.result is None:
                raise UpstreamProtocol(f"the upstream answered with the unknown resultType {reply.kind!r}")
            wanted = _read(reply.result, InputRequired)
            requests = {} if wanted.input_requests is UNSET else wanted.input_requests
            asked = {key: _read(raw, InputRequest) for key, raw in requests.items()}
            for request in asked.values():
                check_capability(self.call.client, request.method, request.params)
            if self.call.client.era == "modern":
                return self._passed_on(requests, wanted)
            answers = await self._answered(asked)
            params = {key: value for key, value in params.items() if key != "requestState"}
            params["inputResponses"] = Raw(msgspec.json.encode(answers))
            if wanted.request_state is not UNSET:
                params["requestState"] = wanted.request_state
        raise UpstreamProtocol(f"the upstream asked for input more than {ROUNDS} times")

    def _passed_on(self, requests: dict[str, Raw], wanted: InputRequired) -> Reply:
        inner = None if wanted.request_state is UNSET else bytes(wanted.request_state)
        upstream = self.call.target.upstream if self.call.target else ""
        return input_required(requests, self.parking.seal(self.exchange, upstream=upstream, inner=inner))

    async def _answered(self, asked: dict[str, InputRequest]) -> dict[str, Raw]:
        try:
            async with asyncio.TaskGroup() as group:
                ask = self.exchange.ask
                tasks = {key: group.create_task(ask(each.method, each.params)) for key, each in asked.items()}
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return {key: task.result() for key, task in tasks.items()}

    def _translated(self, reply: Reply) -> Reply:
        if self.call.client.era == "legacy":
            return reply
        if reply.fault is not None:
            if reply.fault.code == URL_ELICITATION_LEGACY:
                return self._url_elicitation(reply.fault)
            if reply.fault.code == RESOURCE_NOT_FOUND_LEGACY:
                reply.fault = msgspec.structs.replace(reply.fault, code=INVALID_PARAMS)
        elif reply.result is not None and (self.era == "legacy" or b'"cacheScope"' in bytes(reply.result)):
            reply.result = self._as_modern(reply.result)
        return reply

    def _as_modern(self, result: Raw) -> Raw:
        """With what the modern era requires, and private unless everybody sees the same; values stay byte for byte."""
        fields: dict[str, Any] = _read(result, dict[str, Raw])
        if self.era == "legacy":
            own, meta = split_meta(fields)
            fields = {"resultType": "complete", **own, "_meta": {SERVER_INFO_KEY: self.identity, **(meta or {})}}
            if self.call.method == "resources/read":
                fields.update(ttlMs=0, cacheScope="private")
        elif not self.shared:
            fields["cacheScope"] = "private"
        return Raw(msgspec.json.encode(fields))

    def _url_elicitation(self, fault: RpcFault) -> Reply:
        """The legacy error -32042 as the modern question that it stands for (MCP 2025-11-25, elicitation)."""
        if "url" not in (self.call.client.capabilities.get("elicitation") or {}):
            raise ClientCannot("the tool needs URL elicitation", capability="elicitation.url")
        data = {} if fault.data is UNSET else _read(fault.data, dict[str, Any])
        wanted = _read(Raw(msgspec.json.encode(data.get("elicitations", []))), list[dict[str, Any]])
        requests = {}
        for number, entry in enumerate(wanted):
            entry.pop("elicitationId", None)
            requests[f"url{number}"] = {"method": "elicitation/create", "params": entry}
        return input_required(requests, self.parking.seal(self.exchange))


def _read(raw: Raw, expected: type[T]) -> T:
    try:
        return msgspec.json.decode(raw, type=expected)
    except msgspec.DecodeError:
        raise UpstreamProtocol("the upstream's answer does not have the shape that MCP demands") from None
