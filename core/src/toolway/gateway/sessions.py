"""Legacy client sessions: the sealed id says who, the shared record says what, this node's object holds the streams."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from toolway.errors import ClientCannot
from toolway.gateway.streams import RETAIN_BYTES, RETAIN_SECONDS, EventStream
from toolway.hookspecs.routing import ClientProfile
from toolway.mcp.errors import RpcError
from toolway.mcp.messages import Envelope, encode_notification, encode_request
from toolway.mcp.session import SESSION_PURPOSE, SESSION_SECONDS, SealedSession, decode_session, encode

if TYPE_CHECKING:
    from toolway.gateway.exchange import Exchange
    from toolway.gateway.relay import Relay
    from toolway.hookspecs.auth import Principal
    from toolway.hookspecs.caching import KeyValueStore
    from toolway.plugin import Clock
    from toolway.plugin.kernel import Seal

LOCAL_SESSIONS = 50_000
STREAMS_PER_SESSION = 16


class Record(msgspec.Struct, array_like=True):
    """What every node must know of a session; `listener` is the node that holds its GET stream."""

    capabilities: dict[str, Any] = {}
    info: dict[str, Any] = {}
    log_level: str | None = None
    uris: list[str] = []
    listener: str = ""
    ended: bool = False


class ClientSession:
    """One legacy session as this node sees it. It is a peer: what belongs to no request goes to the GET stream."""

    def __init__(self, sealed: SealedSession, record: Record, node: str, relay: Relay) -> None:
        self.sealed = sealed
        self.node = node
        self.general = EventStream(0, retain=RETAIN_BYTES)
        self.streams: dict[int, EventStream] = {}
        self.exchanges: dict[int | str, Exchange] = {}
        self.attached = False
        self.token = ""
        self._relay = relay
        self._asks: dict[str, asyncio.Future[Raw]] = {}
        self._serial = 0
        self.adopt(record)

    @property
    def id(self) -> str:
        """The random id inside the sealed one."""
        return self.sealed.id

    def adopt(self, record: Record) -> None:
        """Take over a newer record."""
        self.record = record
        self.client = ClientProfile(self.sealed.version, record.capabilities, record.info, record.log_level)

    def open_stream(self) -> EventStream:
        """A stream for the reply to one POST, kept for resumption."""
        self._serial += 1
        while len(self.streams) >= STREAMS_PER_SESSION and self._drop_closed_stream():
            pass
        stream = self.streams[self._serial] = EventStream(self._serial, retain=RETAIN_BYTES)
        return stream

    def release(self, stream: EventStream) -> None:
        """The reply is with the client; forget the stream after the time in which it may come back."""
        asyncio.get_running_loop().call_later(RETAIN_SECONDS, self.streams.pop, stream.number, None)

    def discard(self, stream: EventStream) -> None:
        """Forget a stream that nobody can come back to."""
        self.streams.pop(stream.number, None)

    def reattach(self, position: int | None) -> EventStream:
        """A new GET stream takes the place of the old one; what the client did not get after `position` moves along."""
        old, self.general = self.general, EventStream(0, retain=RETAIN_BYTES)
        start = old.delivered if position is None else min(position, old.sequence)
        self.general.sequence = self.general.delivered = start
        for _, message in old.since(start):
            self.general.put(message)
        old.close()
        return self.general

    def notify(self, method: str, params: Any) -> None:
        """Send what belongs to no request: on the GET stream, wherever it is."""
        self.push(encode_notification(method, params))

    def push(self, message: bytes) -> None:
        """Put an encoded message on the GET stream, here or on the node that holds it."""
        if not self.attached and self.record.listener not in ("", self.node):
            self._background(self._relay.send(self.record.listener, "push", session=self.id, message=message))
        else:
            self.general.put(message)

    async def ask(self, method: str, params: Raw, stream: EventStream | None = None) -> Raw:
        """Ask the client and wait; raises ClientCannot without an open stream, RpcError as the client answers."""
        if (stream is None or stream.closed) and not self.attached and not self.record.listener:
            raise ClientCannot(f"the client has no open stream on which {method} could be asked")
        self._serial += 1
        request_id = f"{self.node}.{self._serial}"
        answer: asyncio.Future[Raw] = asyncio.get_running_loop().create_future()
        self._asks[request_id] = answer
        message = encode_request(request_id, method, params)
        if stream is not None and not stream.closed:
            stream.put(message)
        else:
            self.push(message)
        try:
            return await answer
        except asyncio.CancelledError:
            self.notify("notifications/cancelled", {"requestId": Raw(msgspec.json.encode(request_id))})
            raise
        finally:
            del self._asks[request_id]

    def answer(self, envelope: Envelope) -> None:
        """The client's response to `ask`; unknown ids are ignored (late or foreign answers)."""
        waiting = self._asks.get(envelope.id) if isinstance(envelope.id, str) else None
        if waiting is None or waiting.done():
            return
        if envelope.error is not msgspec.UNSET and envelope.error is not None:
            fault = envelope.error
            waiting.set_exception(RpcError(fault.code, fault.message, data=fault.data))
        else:
            waiting.set_result(envelope.result if envelope.result is not msgspec.UNSET else Raw(b"{}"))

    def close(self) -> None:
        """The session ended: every stream and running request of it ends too."""
        for exchange in list(self.exchanges.values()):
            exchange.cancel()
        for stream in (self.general, *self.streams.values()):
            stream.close()

    def _drop_closed_stream(self) -> bool:
        oldest = next((number for number, stream in self.streams.items() if stream.closed), None)
        return oldest is not None and self.streams.pop(oldest, None) is not None

    @staticmethod
    def _background(work: Any) -> None:
        task = asyncio.ensure_future(work)
        _BACKGROUND.add(task)
        task.add_done_callback(_BACKGROUND.discard)


_BACKGROUND: set[asyncio.Future[Any]] = set()


class Sessions:
    """Finds, makes and ends sessions. `closers` hear of ended ones (to close their legs)."""

    def __init__(self, node: str, seal: Seal, clock: Clock, keyvalue: KeyValueStore, relay: Relay) -> None:
        self.node = node
        self._seal = seal
        self._clock = clock
        self._keyvalue = keyvalue
        self.relay = relay
        self._by_token: OrderedDict[str, ClientSession] = OrderedDict()
        self._by_id: dict[str, ClientSession] = {}
        self.closers: list[Callable[[ClientSession], None]] = []
        self.changed: list[Callable[[ClientSession], Awaitable[None]]] = []
        relay.on("session-ended", self._on_ended)
        relay.on("session-changed", self._on_changed)
        relay.on("push", self._on_push)
        relay.on("answer", self._on_answer)
        relay.on("cancelled", self._on_cancelled)

    async def create(
        self, principal: Principal, server: str, version: str, capabilities: dict[str, Any], info: dict[str, Any]
    ) -> tuple[str, ClientSession]:
        """A new session and its sealed id."""
        expires = self._clock.now() + SESSION_SECONDS
        sealed = SealedSession(secrets.token_hex(12), version, principal.id, server, expires)
        record = Record(capabilities, info)
        await self._keyvalue.set(_key(sealed.id), msgspec.msgpack.encode(record), ttl=SESSION_SECONDS)
        token = self._seal.seal(SESSION_PURPOSE, encode(sealed))
        return token, self._adopt(token, sealed, record)

    async def find(self, token: str, principal: Principal, server: str) -> ClientSession | None:
        """The session, or None when it is unknown, over, ended, another principal's or another server's."""
        session = self._by_token.get(token) or await self._load(token)
        if session is None or session.record.ended or session.sealed.expires < self._clock.now():
            return None
        if (session.sealed.principal, session.sealed.server) != (principal.id, server):
            return None
        return session

    def local(self, session_id: str) -> ClientSession | None:
        """The session if this node has it in memory."""
        return self._by_id.get(session_id)

    async def update(self, session: ClientSession, **changes: Any) -> None:
        """Change the shared record and tell the other nodes."""
        key = _key(session.id)
        while True:
            current = await self._keyvalue.get(key)
            record = msgspec.msgpack.decode(current, type=Record) if current else session.record
            record = msgspec.structs.replace(record, **changes)
            left = max(session.sealed.expires - self._clock.now(), 1.0)
            if await self._keyvalue.compare_and_set(key, current, msgspec.msgpack.encode(record), ttl=left):
                break
        session.adopt(record)
        await self.relay.tell_all("session-changed", session=session.id)

    async def end(self, session: ClientSession) -> None:
        """End it on every node; its id gives 404 from now on."""
        await self.update(session, ended=True)
        self._close(session)
        await self.relay.tell_all("session-ended", session=session.id)

    async def answer(self, session: ClientSession, envelope: Envelope, body: bytes) -> None:
        """A client's response: to the node that asked, accepted for the same session only."""
        node = envelope.id.rsplit(".", 1)[0] if isinstance(envelope.id, str) else self.node
        if node == self.node:
            session.answer(envelope)
        else:
            await self.relay.send(node, "answer", session=session.id, message=body)

    async def cancelled(self, session: ClientSession, request_id: int | str) -> None:
        """`notifications/cancelled`: on the node that runs the request."""
        if (exchange := session.exchanges.get(request_id)) is not None:
            exchange.cancel()
        else:
            await self.relay.tell_all("cancelled", session=session.id, request=request_id)

    def close(self) -> None:
        """The node stops: streams end, sessions live on elsewhere."""
        for session in list(self._by_id.values()):
            session.close()

    def drop(self, matches: Callable[[str], bool]) -> None:
        """Close what principals that `matches` names have here (a revoked credential)."""
        for session in list(self._by_id.values()):
            if matches(session.sealed.principal):
                self._close(session)

    async def _load(self, token: str) -> ClientSession | None:
        payload = self._seal.open(SESSION_PURPOSE, token) if len(token) <= 1024 else None
        if payload is None:
            return None
        sealed = decode_session(payload)
        stored = await self._keyvalue.get(_key(sealed.id))
        if stored is None:
            return None
        return self._by_id.get(sealed.id) or self._adopt(token, sealed, msgspec.msgpack.decode(stored, type=Record))

    def _adopt(self, token: str, sealed: SealedSession, record: Record) -> ClientSession:
        session = ClientSession(sealed, record, self.node, self.relay)
        session.token = token
        self._by_token[token] = self._by_id[sealed.id] = session
        while len(self._by_token) > LOCAL_SESSIONS:
            self._close(next(iter(self._by_token.values())))
        return session

    def _close(self, session: ClientSession) -> None:
        session.close()
        self._by_id.pop(session.id, None)
        self._by_token.pop(session.token, None)
        for closer in self.closers:
            closer(session)

    async def _on_ended(self, body: dict[str, Any]) -> None:
        if (session := self._by_id.get(body["session"])) is not None:
            self._close(session)

    async def _on_changed(self, body: dict[str, Any]) -> None:
        session = self._by_id.get(body["session"])
        if session is not None and (stored := await self._keyvalue.get(_key(session.id))):
            session.adopt(msgspec.msgpack.decode(stored, type=Record))
            for listener in self.changed:
                await listener(session)

    async def _on_push(self, body: dict[str, Any]) -> None:
        if (session := self._by_id.get(body["session"])) is not None:
            session.general.put(body["message"])

    async def _on_answer(self, body: dict[str, Any]) -> None:
        if (session := self._by_id.get(body["session"])) is not None:
            session.answer(msgspec.json.decode(body["message"], type=Envelope))

    async def _on_cancelled(self, body: dict[str, Any]) -> None:
        session = self._by_id.get(body["session"])
        exchange = session.exchanges.get(body["request"]) if session else None
        if exchange is not None:
            exchange.cancel()


def _key(session_id: str) -> str:
    return f"session:{session_id}"
