"""Several worker processes on one address: a supervisor that starts them, replaces the dead and stops them all.

Each worker slot has a listening socket of its own (SO_REUSEPORT), which the supervisor keeps open: a worker inherits it
and so does its replacement, so no connection in its backlog is lost. The kernel spreads new connections over the slots.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from toolway.edge import serve

log = logging.getLogger("toolway.workers")

FAILED = 1
_LONGEST_WAIT = 30.0
_STEADY = 10.0
_LOOKS = 4
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP)


@dataclass(frozen=True)
class Post:
    """What a worker works with: its sockets, its number, and whether it is the `first`, who tells where things are.

    Under a supervisor it calls `ready` once it accepts connections, and again every `pulse` seconds: who is silent for
    long hangs. It stops when the descriptor `orphaned` can be read.
    """

    sockets: Sequence[socket.socket]
    first: bool = True
    ready: Callable[[], None] = lambda: None
    orphaned: int | None = None
    number: int = 0
    pulse: float = 60.0


@dataclass
class _Slot:
    sockets: Sequence[socket.socket]
    pid: int = 0
    started: float = 0.0
    due: float = 0.0
    failures: int = 0
    silent: int = 0


class Supervisor:
    """Runs `work` in so many processes; it returns an exit code.

    `hard_stop` is the time for a stop, `hang` that after which a worker that says nothing any more is ended, in
    seconds.
    """

    def __init__(self, work: Callable[[Post], int], count: int, bind: str, hard_stop: float, hang: float) -> None:
        self._work = work
        self._count = count
        self._bind = bind
        self._hard_stop = hard_stop
        self._pulse = hang / _LOOKS
        self._look_at = 0.0
        self._slots: list[_Slot] = []
        self._is_ready = False
        self._stops = 0
        self._deadline = float("inf")
        self._code = 0
        self._orphaned, self._life = os.pipe()
        self._woken, self._wake = os.pipe()
        self._heard, self._told = os.pipe()

    def run(self) -> int:
        """Until SIGTERM or Ctrl-C, which every worker gets as SIGTERM; a second one too. Raises `ConfigError`."""
        self._bind = serve.free_address(self._bind)
        self._add_slot()
        with self._signals():
            while self._slots:
                self._start_due()
                self._listen()
                self._end_hanging()
                self._reap()
        return self._code

    def _add_slot(self) -> None:
        self._slots.append(_Slot(serve.listen(self._bind, shared=True)))

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Signals wake `_listen`, which reads their numbers."""
        os.set_blocking(self._woken, False)
        os.set_blocking(self._wake, False)
        before = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
        signal.set_wakeup_fd(self._wake)
        try:
            yield
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _start_due(self) -> None:
        now = time.monotonic()
        for slot in self._slots:
            if not slot.pid and not self._stops and slot.due <= now:
                slot.started, slot.silent = now, -1
                slot.pid = self._start(slot)

    def _start(self, slot: _Slot) -> int:
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        pid = os.fork()
        if pid:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            return pid
        code = FAILED
        try:
            code = self._work(self._leave_to_worker(slot))
        except BaseException:
            log.exception("a worker failed")
        finally:
            sys.stdout.flush()
            os._exit(code)

    def _leave_to_worker(self, slot: _Slot) -> Post:
        """In the worker: let go of everything that is the supervisor's."""
        os.setpgid(0, 0)  # Ctrl-C in the terminal is for the supervisor, who passes it on
        signal.set_wakeup_fd(-1)
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN if number == signal.SIGHUP else signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        for descriptor in (self._life, self._woken, self._wake, self._heard):
            os.close(descriptor)
        for listener in (each for other in self._slots if other is not slot for each in other.sockets):
            listener.close()
        place = self._slots.index(slot)
        ready = partial(_tell, self._told, place)
        return Post(slot.sockets, not self._is_ready, ready, self._orphaned, place, self._pulse)

    def _listen(self) -> None:
        """Wait for a signal, a worker that is ready, or the next thing that is due."""
        now = time.monotonic()
        due = min([self._deadline, *(slot.due for slot in self._slots if not slot.pid)])
        wait = max(0.0, min(due - now, self._pulse, _LONGEST_WAIT))
        readable, _, _ = select.select([self._woken, self._heard], [], [], wait)
        if self._heard in readable:
            for place in os.read(self._heard, 64):
                if place < len(self._slots):
                    self._slots[place].silent = 0
            self._first_is_ready()
        if self._woken in readable:
            for number in os.read(self._woken, 64):
                if number == signal.SIGHUP:
                    self._pass_on_hangup()
                elif number != signal.SIGCHLD:
                    self._stop()
        if time.monotonic() > self._deadline:
            self._signal_all(signal.SIGKILL)

    def _end_hanging(self) -> None:
        """Those that were ready and are silent now; counted in looks, as the supervisor may have been kept waiting too.

        SIGABRT has Python tell where it hangs; whom that does not end is killed.
        """
        if (now := time.monotonic()) < self._look_at:
            return
        self._look_at = now + self._pulse
        for slot in (each for each in self._slots if each.pid and each.silent >= 0 and not self._stops):
            slot.silent += 1
            if slot.silent > _LOOKS:
                log.error("worker %d hangs; it is ended", slot.pid)
                os.kill(slot.pid, signal.SIGABRT if slot.silent == _LOOKS + 1 else signal.SIGKILL)

    def _first_is_ready(self) -> None:
        """The others start now: tables and keys exist, and the configuration is known to work."""
        if not self._is_ready and not self._stops:
            self._is_ready = True
            for _ in range(1, self._count):
                self._add_slot()

    def _stop(self) -> None:
        """Only the workers hold the sockets now, so closing theirs ends accepting."""
        self._stops += 1
        self._deadline = min(self._deadline, time.monotonic() + self._hard_stop)
        for slot in self._slots:
            for listener in slot.sockets:
                listener.close()
        self._slots = [slot for slot in self._slots if slot.pid]
        self._signal_all(signal.SIGTERM)

    def _pass_on_hangup(self) -> None:
        """To one worker, the one that runs longest: what it does about it, the others learn from it."""
        if running := [slot for slot in self._slots if slot.pid]:
            os.kill(min(running, key=lambda slot: slot.started).pid, signal.SIGHUP)

    def _signal_all(self, number: signal.Signals) -> None:
        for slot in self._slots:
            if slot.pid:
                os.kill(slot.pid, number)

    def _reap(self) -> None:
        for slot in list(self._slots):
            pid, status = os.waitpid(slot.pid, os.WNOHANG) if slot.pid else (0, 0)
            if pid:
                slot.pid = 0
                self._ended(slot, os.waitstatus_to_exitcode(status))

    def _ended(self, slot: _Slot, code: int) -> None:
        if self._stops or not self._is_ready:
            self._slots.remove(slot)
            if not self._stops or code != -signal.SIGTERM:  # one that was told to stop before it had begun
                self._code = max(self._code, abs(code) and FAILED)
            return
        steady = time.monotonic() - slot.started > _STEADY
        slot.failures = 0 if steady else slot.failures + 1
        wait = 0.0 if slot.failures <= 1 else min(_LONGEST_WAIT, 2.0 ** (slot.failures - 2))
        slot.due = time.monotonic() + wait
        log.error("a worker ended unexpectedly with %d; another one starts in %g s", code, wait)


def _tell(descriptor: int, place: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # the supervisor is gone, which `orphaned` tells
        os.write(descriptor, bytes([place]))
