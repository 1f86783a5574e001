"""Legacy client sessions: the sealed id says who, the shared record says what, this node's object holds the streams."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET, Raw

from toolway.errors import ClientCannot
from toolway.gateway.exchange import Exchange
from toolway.gateway.relay import Relay
from toolway.gateway.streams import PENDING_BYTES, RETAIN_BYTES, RETAIN_SECONDS, Budget, EventStream
from toolway.gateway.translate import introduction
from toolway.hookspecs.auth import Principal
from toolway.hookspecs.caching import KeyValueStore
from toolway.hookspecs.routing import ClientProfile
from toolway.mcp.errors import RpcError
from toolway.mcp.messages import Envelope, encode_notification, encode_request
from toolway.mcp.session import EVENT_PURPOSE, SESSION_PURPOSE, SESSION_SECONDS, EventId, SealedSession, decode_session
from toolway.plugin.kernel import Clock, Seal

if TYPE_CHECKING:
    from toolway.gateway.subscriptions import Listener

replace = msgspec.structs.replace
LOCAL_SESSIONS = 50_000
LONGEST_ID = 1024
IDLE_SECONDS = 600.0
KEPT_STREAMS, KEPT_BYTES = 8, PENDING_BYTES // 2
"""What is kept of answers that were sent; up to as many more until it is looked at again."""


class Record(msgspec.Struct, array_like=True):
    """What every node must know of a session; `revision` grows.

    `listener` is the node that holds its GET stream; `heard` is how far the client got on the stream before that one.
    """

    capabilities: dict[str, Any] = {}
    info: dict[str, Any] = {}
    log_level: str | None = None
    uris: list[str] = []
    listener: str = ""
    ended: bool = False
    revision: int = 0
    heard: EventId | None = None


class ClientSession:
    """One legacy session as this node sees it. It is a peer: what belongs to no request goes to the GET stream."""

    def __init__(self, token: str, sealed: SealedSession, record: Record, node: str, relay: Relay) -> None:
        self.token = token
        self.sealed, self.id, self.node = sealed, sealed.id, node
        self.place = ""  # what the ids of its events begin with: node and session, sealed
        self.address = ""  # of the client, as it was last seen
        self.budget = Budget()
        self.general = self._general()
        self.streams: dict[int, EventStream] = {}
        self.exchanges: dict[int | str, Exchange] = {}
        self.attached, self.changing = False, asyncio.Lock()
        self.listener: Listener | None = None
        self.last_used, self._serial, self._relay = 0.0, 0, relay
        self._asks: dict[str, asyncio.Future[Raw]] = {}
        self.adopt(record)

    @property
    def is_idle(self) -> bool:
        """Whether this node can forget it: the next request brings it back from its id and record."""
        return not (self.attached or self.exchanges or self.streams or self._asks)

    def adopt(self, record: Record) -> None:
        """Take over a newer record."""
        self.record = record
        self.client = ClientProfile(self.sealed.version, record.capabilities, record.info, record.log_level)
        self.introduction = introduction(self.client)

    def open_stream(self) -> EventStream:
        """A stream for the reply to one POST, kept for resumption."""
        self._serial += 1
        stream = self.streams[self._serial] = EventStream(self._serial, RETAIN_BYTES, self.budget)
        if len(self.streams) % KEPT_STREAMS == 0 or self.budget.used > KEPT_BYTES:
            kept = [each for each in self.streams.values() if each.left_at is not None and each.closed]
            while len(kept) > KEPT_STREAMS or (kept and self.budget.used > KEPT_BYTES):
                self.discard(kept.pop(0))
        return stream

    def discard(self, stream: EventStream) -> None:
        """Forget a stream that nobody can come back to."""
        stream.clear()
        self.streams.pop(stream.number, None)

    def discard_left(self, before: float) -> None:
        """Forget ended streams whose reader has been gone since then."""
        for stream in list(self.streams.values()):
            if stream.closed and stream.left_at is not None and stream.left_at < before:
                self.discard(stream)
        if not self.attached and self.general.left_at is not None and self.general.left_at < before:
            self.general.clear()

    def attach(self, heard: EventId | None) -> tuple[EventStream, int]:
        """A new GET stream in place of the old one, and where it begins: with what the client has not got yet."""
        old, self.general = self.general, self._general()
        start = self._got(old, heard)
        self.general.take_over(old, start)
        self.general.lossy, self.attached = False, True
        return self.general, start

    def hand_over(self) -> None:
        """The client reads its GET stream on another node now: what it has not got goes there."""
        old, self.general, self.attached = self.general, self._general(), False
        for _, message in old.since(self._got(old, self.record.heard)):
            self._relay.send(self.record.listener, "push", session=self.id, message=message)
        self.general.take_over(old, old.sequence)

    def detach(self, now: float) -> None:
        """Nobody reads the GET stream: it keeps the newest messages for a while."""
        self.attached, self.general.lossy, self.general.left_at = False, True, now

    def notify(self, method: str, params: Any) -> None:
        """Send what belongs to no request: on the GET stream, wherever it is."""
        self.push(encode_notification(method, params))

    def push(self, message: bytes) -> None:
        """Put an encoded message on the GET stream, here or on the node that holds it."""
        if not self.attached and self.record.listener not in ("", self.node):
            self._relay.send(self.record.listener, "push", session=self.id, message=message)
        else:
            self.general.put(message)

    async def wait(self, exchange: Exchange, method: str, params: Raw) -> Raw:
        """Ask on the stream of a request while it is open, else on the GET stream."""
        return await self.ask(method, params, None if exchange.stream.closed else exchange.stream)

    async def ask(self, method: str, params: Raw, stream: EventStream | None = None) -> Raw:
        """Ask the client and wait; raises ClientCannot without an open stream, RpcError as the client answers."""
        if stream is None and not self.attached and not self.record.listener:
            raise ClientCannot(f"the client has no open stream on which {method} could be asked")
        put = self.push if stream is None else stream.put
        self._serial += 1
        request_id = f"{self.node}.{self._serial}"
        answer: asyncio.Future[Raw] = asyncio.get_running_loop().create_future()
        self._asks[request_id] = answer
        put(encode_request(request_id, method, params))
        try:
            return await answer
        except asyncio.CancelledError:
            put(encode_notification("notifications/cancelled", {"requestId": Raw(msgspec.json.encode(request_id))}))
            raise
        finally:
            del self._asks[request_id]

    def answer(self, envelope: Envelope) -> None:
        """The client's response to `ask`; unknown ids are ignored (late or foreign answers)."""
        waiting = self._asks.get(envelope.id) if isinstance(envelope.id, str) else None
        if waiting is None or waiting.done():
            return
        fault = envelope.error
        if fault is not UNSET and fault is not None:
            waiting.set_exception(RpcError(fault.code, fault.message, data=fault.data))
        else:
            waiting.set_result(envelope.result if envelope.result is not UNSET else Raw(b"{}"))

    def cancel(self, request_id: int | str) -> bool:
        """Give a running request up; False when it does not run here."""
        exchange = self.exchanges.get(request_id)
        if exchange is not None:
            exchange.cancel()
        return exchange is not None

    def hang_up(self) -> None:
        """End the GET stream."""
        self.general.close()

    def close(self) -> None:
        """The session ended: every stream and running request of it ends too."""
        for exchange in list(self.exchanges.values()):
            exchange.cancel()
        for stream in (self.general, *self.streams.values()):
            stream.close()

    def _got(self, stream: EventStream, heard: EventId | None) -> int:
        """How much of this node's GET stream is with the client: what it says, else what was written."""
        is_ours = heard is not None and heard.node == self.node
        return min(heard.sequence, stream.sequence) if heard is not None and is_ours else stream.delivered

    def _general(self) -> EventStream:
        stream = EventStream(0, RETAIN_BYTES, self.budget)
        stream.lossy = True
        return stream


class Sessions:
    """Finds, makes and ends sessions. `closers` hear of ended ones, `changed` hears what another node changed."""

    def __init__(self, node: str, seal: Seal, clock: Clock, keyvalue: KeyValueStore, relay: Relay) -> None:
        self._node, self._seal, self._clock = node, seal, clock
        self._keyvalue, self._relay = keyvalue, relay
        self._by_token: OrderedDict[str, ClientSession] = OrderedDict()
        self._by_id: dict[str, ClientSession] = {}
        self.closers: list[Callable[[ClientSession], None]] = []
        self.changed: Callable[[ClientSession], object] = lambda session: None
        for kind, handler in {
            "session-changed": self._changed,
            "session-ended": lambda session, body: self._close(session),
            "push": lambda session, body: session.push(body["message"]),
            "answer": lambda session, body: session.answer(msgspec.json.decode(body["message"], type=Envelope)),
            "cancelled": lambda session, body: session.cancel(body["request"]),
        }.items():
            relay.on(kind, partial(self._relayed, handler))

    @property
    def count(self) -> int:
        """How many this node knows."""
        return len(self._by_id)

    async def create(self, principal: Principal, server: str, version: str, record: Record) -> ClientSession:
        """A new session; its `token` is the sealed id."""
        expires = self._clock.now() + SESSION_SECONDS
        sealed = SealedSession(secrets.token_hex(12), version, principal.id, server, expires)
        await self._keyvalue.set(_key(sealed.id), msgspec.msgpack.encode(record), ttl=SESSION_SECONDS)
        return self._adopt(self._seal.seal(SESSION_PURPOSE, msgspec.msgpack.encode(sealed)), sealed, record)

    async def find(self, token: str, principal: Principal, server: str) -> ClientSession | None:
        """The session, or None when it is unknown, over, ended, another principal's or another server's."""
        session = self._by_token.get(token) or await self._load(token)
        if session is None or session.record.ended or session.sealed.expires < self._clock.now():
            return None
        if (session.sealed.principal, session.sealed.server) != (principal.id, server):
            return None
        session.last_used = self._clock.monotonic()
        self._by_token.move_to_end(session.token)
        return session

    def local(self, session_id: str) -> ClientSession | None:
        """The session if this node has it in memory."""
        return self._by_id.get(session_id)

    async def update(self, session: ClientSession, change: Callable[[Record], Record]) -> None:
        """Change the shared record and tell the other nodes."""
        key = _key(session.id)
        async with session.changing:
            while True:
                current = await self._keyvalue.get(key)
                known = msgspec.msgpack.decode(current, type=Record) if current else session.record
                changed = change(known)
                record = known if changed == known else replace(changed, revision=known.revision + 1)
                left = max(session.sealed.expires - self._clock.now(), 1.0)
                if await self._keyvalue.compare_and_set(key, current, msgspec.msgpack.encode(record), ttl=left):
                    break
        session.adopt(record)
        if record is not known:
            self._relay.tell_all("session-changed", session=session.id, record=msgspec.msgpack.encode(record))

    async def claim(self, session: ClientSession, heard: EventId | None) -> None:
        """This node is about to hold the GET stream; attach it only then, or news of an older claim would end it."""
        await self.update(session, lambda record: replace(record, listener=self._node, heard=heard))

    async def release(self, session: ClientSession) -> None:
        """The GET stream ended; what the session would have heard is kept for a while, for when it comes back."""
        session.detach(self._clock.monotonic())
        await self.update(
            session, lambda r: r if session.attached or r.listener != self._node else replace(r, listener="")
        )

    async def end(self, session: ClientSession) -> None:
        """End it on every node; its id gives 404 from now on."""
        try:  # whoever asks for it until then would bring it back
            await self.update(session, lambda record: replace(record, ended=True))
        finally:
            self._close(session)
        self._relay.tell_all("session-ended", session=session.id)

    def answer(self, session: ClientSession, envelope: Envelope, body: bytes) -> None:
        """A client's response: to the node that asked, accepted for the same session only."""
        node = envelope.id.rpartition(".")[0] if isinstance(envelope.id, str) else ""
        if node == self._node:
            session.answer(envelope)
        elif node.isalnum():
            self._relay.send(node, "answer", session=session.id, message=body)

    def cancelled(self, session: ClientSession, request_id: int | str) -> None:
        """`notifications/cancelled`: on the node that runs the request; unknown ids are ignored."""
        if not session.cancel(request_id):
            self._relay.tell_all("cancelled", session=session.id, request=request_id)

    def drop(self, matches: Callable[[str], bool]) -> None:
        """Close what principals that `matches` names have here (a revoked credential)."""
        for session in list(self._by_id.values()):
            if matches(session.sealed.principal):
                self._close(session)

    def sweep(self) -> None:
        """Forget what nobody came back for: streams after five minutes, sessions without use after ten."""
        now = self._clock.monotonic()
        for session in list(self._by_id.values()):
            session.discard_left(now - RETAIN_SECONDS)
            if session.is_idle and session.last_used < now - IDLE_SECONDS:
                self._close(session)

    async def _load(self, token: str) -> ClientSession | None:
        payload = self._seal.open(SESSION_PURPOSE, token) if len(token) <= LONGEST_ID else None
        if payload is None:
            return None
        sealed = decode_session(payload)
        stored = await self._keyvalue.get(_key(sealed.id))
        record = msgspec.msgpack.decode(stored, type=Record) if stored is not None else None
        if record is None or record.ended:
            return None
        return self._by_id.get(sealed.id) or self._adopt(token, sealed, record)

    def _adopt(self, token: str, sealed: SealedSession, record: Record) -> ClientSession:
        session = ClientSession(token, sealed, record, self._node, self._relay)
        session.last_used = self._clock.monotonic()
        session.place = self._seal.seal(EVENT_PURPOSE, msgspec.msgpack.encode((self._node, sealed.id)))
        self._by_token[token] = self._by_id[sealed.id] = session
        while len(self._by_token) > LOCAL_SESSIONS:
            known = self._by_token.values()
            self._close(next((each for each in known if each.is_idle), next(iter(known))))
        return session

    def _close(self, session: ClientSession) -> None:
        session.close()
        if self._by_id.get(session.id) is session:
            del self._by_id[session.id], self._by_token[session.token]
            for closer in self.closers:
                closer(session)

    async def _relayed(self, handler: Callable[[ClientSession, Any], None], body: dict[str, Any]) -> None:
        """Something of another node for a session that this one may have."""
        if (session := self._by_id.get(body["session"])) is not None:
            handler(session, body)

    def _changed(self, session: ClientSession, body: dict[str, Any]) -> None:
        record = msgspec.msgpack.decode(body["record"], type=Record)
        if record.revision > session.record.revision:
            session.adopt(record)
        if session.record.listener not in ("", self._node):
            session.hand_over()
        self.changed(session)


def _key(session_id: str) -> str:
    return f"session:{session_id}"
