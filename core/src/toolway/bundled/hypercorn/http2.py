"""hypercorn's HTTP/2 (RFC 9113) without CONNECT and push, and with bounds for what a hostile client may do.

One task reads for all requests of a connection; each of them has its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

import h2.errors
import h2.events
import h2.exceptions
from h2.connection import ConnectionInputs, H2ConnectionStateMachine
from h2.frame_buffer import FrameBuffer
from h2.settings import SettingCodes, Settings
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol.events import Body, EndBody, Event as StreamEvent, Response
from hypercorn.protocol.h2 import BufferCompleteError, H2Protocol, StreamBuffer

from toolway.bundled.hypercorn.inbox import Inbox
from toolway.hookspecs.serving import Silence

if TYPE_CHECKING:
    from hyperframe.frame import Frame

    from toolway.bundled.hypercorn.connection import Connection

_STREAMS = 100
_RESETS, _RESET_PERIOD = 200, 30.0
_PIECE = 64 * 1024
_HELD = 32 * 1024
_FRAMES = 40 * 1024  # two of the largest and a preface
_OF_HTTP1 = frozenset({b"connection", b"keep-alive", b"transfer-encoding", b"upgrade"})


class Frames(FrameBuffer):
    """What has come: h2's own keeps what is not a whole frame, of up to 16 MiB, or not all headers, of up to 1 MiB."""

    _unused = 0

    def add_data(self, data: Any) -> None:
        """Of the client."""
        self._unused += len(data)
        super().add_data(data)

    def __next__(self) -> Frame:
        try:
            frame = super().__next__()
        except StopIteration:
            if self._unused > _FRAMES:
                raise h2.exceptions.FrameTooLargeError("too much makes no frame") from None
            raise
        self._unused = 0
        return frame


class States(H2ConnectionStateMachine):
    """As h2's, but open streams go on after a GOAWAY of either side (RFC 9113 section 6.8)."""

    def process_input(self, input_: ConnectionInputs) -> list[Any]:
        """Something is sent or received."""
        if input_ in (ConnectionInputs.SEND_GOAWAY, ConnectionInputs.RECV_GOAWAY):
            return []
        return super().process_input(input_)


class Buffer(StreamBuffer):
    """What a stream has to send: hypercorn's own lets the application go on while the client opens no window."""

    async def push(self, data: bytes) -> None:
        """Returns when less than 32 KiB wait; raises `BufferCompleteError` after the end."""
        if self._complete:
            raise BufferCompleteError
        self.buffer += data
        if len(self.buffer) >= _HELD:
            await self._paused.clear()
            await self._paused.wait()

    async def pop(self, max_length: int) -> bytes:
        """At most so many bytes."""
        data = bytes(self.buffer[:max_length])
        del self.buffer[:max_length]
        if len(self.buffer) < _HELD:
            await self._paused.set()
        return data


class Http2(H2Protocol):
    """An `H2Protocol` that survives data for streams that it has closed, and cuts streams that are not read."""

    _is_ending = False

    def __init__(self, connection: Connection) -> None:
        scope = connection.scope
        ends = (scope["scheme"] == "https", scope["client"], scope["server"])
        parts: Any = (connection.app, connection.config, WorkerContext(None), self, {}, *ends, self._on_event)
        super().__init__(*parts)
        self._link, limits = connection, connection.limits
        self._reader = asyncio.StreamReader()
        self._reader.set_transport(connection.transport)
        self._resets: deque[float] = deque(maxlen=_RESETS)
        values = {SettingCodes.MAX_CONCURRENT_STREAMS: _STREAMS, SettingCodes.MAX_HEADER_LIST_SIZE: limits.headers}
        self.connection.state_machine = States()
        self.connection.incoming_buffer = Frames(server=True)
        self.connection.local_settings = Settings(client=False, initial_values=values)
        self.feed = self._reader.feed_data
        self.close = self.spawn(self._read).cancel

    async def _read(self) -> None:
        """Feed the protocol until the connection ends."""
        try:
            await self.initiate()
            while True:
                await self.handle(RawData(await self._reader.read(_PIECE)))
        finally:
            await self.handle(Closed())

    async def spawn_app(self, app: Any, _: Any, scope: Any, send: Any) -> Any:
        """Start the application for a request and say where its messages go (the `TaskGroup` of hypercorn)."""
        room = asyncio.Event()
        inbox = Inbox(room.set)

        async def put(message: Any) -> None:
            room.clear()
            if message["type"] != "http.request":
                inbox.close()
            elif not inbox.put(message["body"], message["more_body"]):
                await room.wait()

        self.spawn(self._answer, app, scope, inbox, send)
        return put

    def spawn(self, work: Callable[..., Coroutine[Any, Any, None]], *arguments: Any) -> asyncio.Task[None]:
        """Run something beside the reading (the `TaskGroup` of hypercorn)."""
        task = asyncio.get_running_loop().create_task(work(*arguments))
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        if not (task.cancelled() or isinstance(task.exception(), OSError | None)):
            logging.getLogger("toolway.edge").error("a connection failed", exc_info=task.exception())
            self._link.abort()

    async def _answer(self, app: Any, scope: Any, inbox: Inbox, send: Any) -> None:
        self._link.outbox.in_flight += 1
        try:
            await app(scope, inbox.receive, send)
        finally:
            self._link.outbox.in_flight -= 1
        await send(None)

    async def _on_event(self, event: Any) -> None:
        if isinstance(event, RawData):
            if not self._link.is_over:
                self._link.put(event.data)
            await self._link.drained()
        elif isinstance(event, Closed) or (event.idle and self._is_ending):
            self._link.hang_up()

    def waits_for(self) -> tuple[Silence, int] | None:
        """See `ClientConnection`."""
        return None if self.streams else ("keep_alive", self.keep_alive_requests)

    def finish(self) -> None:
        """No other request is taken, and the client hears which ones are; the connection ends after their answers."""
        self._is_ending = True
        self.connection.close_connection()
        self._link.put(self.connection.data_to_send())
        if not self.streams:
            self._link.hang_up()

    async def handle(self, event: Event) -> None:
        """Bytes or the end of the connection."""
        await super().handle(event)
        if isinstance(event, Closed):
            for buffer in self.stream_buffers.values():
                await buffer.close()

    async def _handle_events(self, events: list[h2.events.Event]) -> None:
        for event in events:
            if isinstance(event, h2.events.DataReceived) and event.stream_id not in self.streams:
                self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamReset) and self._resets_too_often():
                self.connection.close_connection(h2.errors.ErrorCodes.ENHANCE_YOUR_CALM)
                await self._flush()
                return await self.send(Closed())
            elif isinstance(event, h2.events.ConnectionTerminated) and not event.error_code:
                self._is_ending = True
            elif isinstance(event, h2.events.RequestReceived) and self._is_ending:
                self._reset(event.stream_id, h2.errors.ErrorCodes.REFUSED_STREAM)
            else:
                await super()._handle_events([event])
        await self._flush()
        if self._is_ending and not self.streams:
            self._link.hang_up()

    async def _priority_updated(self, event: h2.events.PriorityUpdated) -> None:
        """No stream comes before another: RFC 9113 section 5.3.2 deprecates that."""

    def _resets_too_often(self) -> bool:
        """Whether the client makes and resets streams only to make work (CVE-2023-44487)."""
        now = monotonic()
        is_full = len(self._resets) == _RESETS
        self._resets.append(now)
        return is_full and now - self._resets[0] < _RESET_PERIOD

    async def _create_stream(self, request: h2.events.RequestReceived) -> None:
        fields = dict(request.headers)
        is_ascii = fields[b":method"].isascii() and fields.get(b":path", b"").isascii()
        if fields[b":method"] == b"CONNECT" or not is_ascii:
            return self._reset(request.stream_id, h2.errors.ErrorCodes.PROTOCOL_ERROR)
        await super()._create_stream(request)
        self.stream_buffers[request.stream_id] = Buffer(self.context.event_class)

    async def stream_send(self, event: StreamEvent) -> None:
        """Raises `OSError` if the client has given the stream up or does not read for `stalled_write` seconds."""
        if event.stream_id not in self.streams:
            raise ConnectionResetError("the stream is closed")
        if isinstance(event, Response):
            fields = [field for field in event.headers if field[0].lower() not in _OF_HTTP1]
            await super().stream_send(Response(event.stream_id, fields, event.status_code))
        elif isinstance(event, Body):
            for start in range(0, len(event.data), _PIECE):
                await self._send_in_time(Body(event.stream_id, event.data[start : start + _PIECE]))
        elif isinstance(event, EndBody):
            await self._send_in_time(event)
        else:
            await super().stream_send(event)

    async def _send_in_time(self, event: StreamEvent) -> None:
        try:
            async with asyncio.timeout(self._link.limits.stalled_write):
                await super().stream_send(event)
        except TimeoutError:
            self._reset(event.stream_id, h2.errors.ErrorCodes.CANCEL)
            await self._flush()
            raise

    async def _send_data(self, stream_id: int) -> None:
        buffer = self.stream_buffers.get(stream_id)
        await super()._send_data(stream_id)
        if buffer is not None and stream_id not in self.stream_buffers:
            await buffer.close()  # only now nobody waits for its end any more: it is sent
            self._reset(stream_id, h2.errors.ErrorCodes.NO_ERROR)  # a body that nobody reads need not be sent
            await self._flush()

    async def _close_stream(self, stream_id: int) -> None:
        """What has not been sent by now never will be."""
        buffer = self.stream_buffers.get(stream_id)
        if buffer is not None:
            self._reset(stream_id, h2.errors.ErrorCodes.INTERNAL_ERROR)
            await buffer.close()
            self.priority.unblock(stream_id)
            with suppress(OSError):
                await self._flush()
        await super()._close_stream(stream_id)

    def _reset(self, stream_id: int, reason: h2.errors.ErrorCodes) -> None:
        """End a stream unless both sides have."""
        with suppress(h2.exceptions.ProtocolError):
            self.connection.reset_stream(stream_id, reason)
