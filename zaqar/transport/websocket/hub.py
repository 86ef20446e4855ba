# SPDX-License-Identifier: Apache-2.0
"""All connections of this process, and what is done for each of them."""

from __future__ import annotations

import asyncio
import collections
import functools
import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zaqar.errors import StoreUnavailable
from zaqar.transport.turns import Job, Turn
from zaqar.transport.websocket import codec
from zaqar.transport.websocket.actions import Caller, Desk
from zaqar.transport.websocket.admission import Admission
from zaqar.transport.websocket.protocol import (
    RESTART,
    Answer,
    Call,
    Close,
    Connection,
    Drop,
    Effect,
    Expire,
    Forget,
    Frame,
    Own,
    Ping,
    Proceed,
    Pushed,
    Reading,
    Send,
    Wire,
)
from zaqar.transport.websocket.settings import Settings
from zaqar.transport.websocket.workers import Workers

LOG = logging.getLogger(__name__)

#: Tries to end a subscription whose connection is gone, and seconds between.
TRIES = 5
PAUSE = 2.0

#: Bytes of a message beyond which the loop does not encode it itself.
_LONG = 64 * 1024


class Line:
    """One connection with all that belongs to it.

    :ivar peer: address of the other end
    :ivar project: whom the last answer was for
    :ivar login: ends it unless it proves who it is
    :ivar deadline: ends it unless the other end takes what is written
    """

    __slots__ = (
        'answered',
        'caller',
        'deadline',
        'expiry',
        'id',
        'is_busy',
        'login',
        'machine',
        'peer',
        'project',
        'pulse',
        'todo',
        'wire',
    )

    def __init__(self, wire: Wire, peer: str, hub: Hub) -> None:
        self.id = str(uuid.uuid4())
        self.wire = wire
        self.peer = peer
        self.machine = Connection(hub.settings.max_missed)
        self.caller: Caller = hub.desk.caller(self.id)
        self.todo: collections.deque[Effect] = collections.deque()
        self.is_busy = False
        self.answered = functools.partial(hub.answered, self)
        self.project = ''
        self.deadline: asyncio.TimerHandle | None = None
        self.expiry: asyncio.TimerHandle | None = None
        self.login: asyncio.TimerHandle | None = None
        self.pulse: asyncio.TimerHandle | None = None


class Hub:
    """Performs what the state machines of the connections want.

    :param watch: is told how many connections there are, when that changes
    """

    def __init__(
        self,
        desk: Desk,
        settings: Settings,
        workers: Workers,
        loop: asyncio.AbstractEventLoop,
        watch: Callable[[int], None] | None = None,
    ) -> None:
        self.desk = desk
        self._watch = watch
        self.settings = settings
        self.workers = workers
        self._loop = loop
        self._lines: dict[str, Line] = {}
        #: Whether a connection has to prove who it is.
        self.proves: bool = desk.access.proves
        self._admission = Admission(settings, self.proves)
        self._blocked: dict[str, set[Line]] = {}
        self._forgetting = 0
        self._does: Mapping[type, Callable[[Line, Any], None]] = {
            Call: self._call,
            Proceed: lambda line, effect: line.todo.extend(
                line.machine.proceed()
            ),
            Send: lambda line, effect: line.wire.send(effect.frame),
            Reading: lambda line, effect: line.wire.read(effect.on),
            Expire: self._schedule_expiry,
            Ping: lambda line, effect: line.wire.ping(),
            Close: lambda line, effect: line.wire.shut(
                effect.code, effect.reason
            ),
            Drop: lambda line, effect: line.wire.cut(),
            Forget: lambda line, effect: self._forget(effect.owns),
        }

    def __len__(self) -> int:
        """Return the number of open connections."""
        return len(self._lines)

    @property
    def is_quiet(self) -> bool:
        """Tell whether nothing is left to do."""
        return not self._lines and not self._forgetting

    def is_full(self) -> bool:
        """Tell whether there are as many connections as there may be."""
        return self._admission.is_full(len(self))

    def is_overrun(self, line: Line) -> bool:
        """Tell whether so many connect that most are not even answered."""
        return self._admission.is_overrun(line.peer, len(self))

    def is_crowded(self, line: Line, address: str) -> bool:
        """Count a connection for the address that it comes from.

        :returns: whether too many of that address have proved nothing
        """
        self._admission.remove(line.peer)
        line.peer = address
        self._admission.add(address)
        return self._admission.is_crowded(address)

    def join(self, wire: Wire, peer: str) -> Line:
        """Take in a connection."""
        line = Line(wire, peer, self)
        self._lines[line.id] = line
        self._admission.add(peer)
        self._tell()
        return line

    def _tell(self) -> None:
        if self._watch is not None:
            self._watch(len(self._lines))

    def opened(self, line: Line) -> None:
        """Note that the handshake is done."""
        patience = self.settings.authentication_timeout
        if self.proves and patience:
            line.login = self._loop.call_later(patience, self._late, line)
        if self.settings.ping_interval:
            self._schedule_pulse(line)

    def left(self, line: Line) -> None:
        """Note that a connection is gone."""
        if self._lines.pop(line.id, None) is None:
            return
        self._tell()
        self._is_taken(line)
        for timer in (line.expiry, line.login, line.pulse):
            if timer is not None:
                timer.cancel()
        if not line.machine.is_proved:
            self._admission.remove(line.peer)
        self.perform(line, line.machine.lost())

    def perform(self, line: Line, effects: Sequence[Effect]) -> None:
        """Do what a machine wants, in order."""
        line.todo.extend(effects)
        if line.is_busy:
            # What is being done has come back to us: a write that blocks.
            # That comes after what was wanted before.
            return
        line.is_busy = True
        try:
            while line.todo:
                effect = line.todo.popleft()
                self._does[type(effect)](line, effect)
        finally:
            line.is_busy = False

    def blocked(self, line: Line) -> None:
        """Note that the other end does not take what is written."""
        self.perform(line, line.machine.blocked())
        self._blocked.setdefault(line.project, set()).add(line)
        self._schedule_deadline(line)
        # By then the system has taken what it can.
        self.soon(functools.partial(self._check_unsent, line))

    def unblocked(self, line: Line) -> None:
        """Note that it does again."""
        self._is_taken(line)
        self.perform(line, line.machine.unblocked())

    def closing(self, line: Line) -> None:
        """Note that a close frame is on its way."""
        self.perform(line, line.machine.closing())
        self._schedule_deadline(line)

    def _is_blocked(self, line: Line) -> bool:
        return line in self._blocked.get(line.project, ())

    def _is_taken(self, line: Line) -> None:
        if line.deadline is not None:
            line.deadline.cancel()
            line.deadline = None
        lines = self._blocked.get(line.project, set())
        lines.discard(line)
        if not lines:
            self._blocked.pop(line.project, None)

    def _schedule_deadline(self, line: Line) -> None:
        most = self.settings.write_timeout
        if most and line.deadline is None and line.id in self._lines:
            line.deadline = self._loop.call_later(most, self._overdue, line)

    def _overdue(self, line: Line) -> None:
        self._end(line, 'takes nothing of what is written')

    def _check_unsent(self, line: Line) -> None:
        """End connections for which too much waits."""
        if not self._is_blocked(line):
            return
        most = self.settings.max_unsent
        if most and line.wire.unsent() > most:
            self._end(line, 'has too much to read')
            return
        most = self.settings.max_unsent_per_project
        lines = self._blocked[line.project]
        sizes = {other: other.wire.unsent() for other in lines}
        if most and sum(sizes.values()) > most:
            largest = max(sizes, key=sizes.__getitem__)
            self._end(largest, 'has most to read in a project with too much')

    def _end(self, line: Line, why: str) -> None:
        LOG.info('Ended a connection from %s, which %s', line.peer, why)
        # It is gone a turn of the loop later, and counts no more till then.
        self._is_taken(line)
        line.wire.cut()

    async def push(self, connection: str, text: bytes) -> Pushed:
        """Send a message, JSON text, to a connection."""
        line = self._lines.get(connection)
        if line is None:
            return Pushed.GONE
        is_binary = line.machine.pushes_binary
        data = text
        if is_binary:
            pack = functools.partial(codec.packed, text)
            is_long = len(text) > _LONG
            data = await self.workers.run(pack) if is_long else pack()
        pushed, effects = line.machine.pushed(Frame(data, is_binary))
        self.perform(line, effects)
        return pushed

    def now(self) -> float:
        """Return the time of the loop's clock."""
        return self._loop.time()

    def soon(self, call: Callable[[], None]) -> None:
        """Have something done in the next round of the loop."""
        self._loop.call_soon(call)

    def drain(self) -> None:
        """Have all connections come to their end."""
        for line in list(self._lines.values()):
            self.perform(line, line.machine.drain())

    def renew(self) -> None:
        """Have those come again whose subscriptions may have been ended."""
        for line in list(self._lines.values()):
            if line.machine.has_owns:
                line.wire.shut(RESTART, 'Subscriptions may have been lost.')

    def _call(self, line: Line, effect: Call) -> None:
        self.workers.submit(
            functools.partial(line.caller.answer, effect.frame),
            line.answered,
            line.project or line.peer,
        )

    def answered(self, line: Line, answer: Answer) -> None:
        """Take the answer to a frame, or let the frame wait for its turn."""
        turn, frame = answer.turn, answer.frame
        if turn is not None and frame is not None:
            wait = functools.partial(self._resume, line, frame, turn)
            self._later(turn.wait(wait))
            return
        try:
            self._answered(line, answer)
        finally:
            if turn is not None:
                self._later(turn.end())

    def _resume(self, line: Line, frame: Frame, turn: Turn) -> None:
        """Have a frame answered whose turn has come."""
        turn.resume()
        frame.turn = turn
        if line.id in self._lines:
            self._call(line, Call(frame))
        else:
            self._later(turn.end())

    def _later(self, job: Job | None) -> None:
        if job is not None:
            self.soon(job)

    def _answered(self, line: Line, answer: Answer) -> None:
        was_proved = line.machine.is_proved
        if self._is_blocked(line):
            self.soon(functools.partial(self._check_unsent, line))
        elif answer.project:
            line.project = answer.project
        effects = line.machine.answered(answer)
        if line.machine.is_proved and not was_proved:
            self._admission.remove(line.peer)
            if line.login is not None:
                line.login.cancel()
        self.perform(line, effects)

    def _schedule_expiry(self, line: Line, effect: Expire) -> None:
        if line.expiry is not None:
            line.expiry.cancel()
        if line.id in self._lines:
            line.expiry = self._loop.call_later(
                max(0.0, effect.at - time.time()), self._expire, line
            )

    def _late(self, line: Line) -> None:
        self.perform(line, line.machine.late())

    def _expire(self, line: Line) -> None:
        self.perform(line, line.machine.expired())

    def _schedule_pulse(self, line: Line) -> None:
        line.pulse = self._loop.call_later(
            self.settings.ping_interval, self._pulse, line
        )

    def _pulse(self, line: Line) -> None:
        self.perform(line, line.machine.tick())
        if line.id in self._lines:
            self._schedule_pulse(line)

    def _forget(self, owns: Sequence[Own], tries: int = TRIES) -> None:
        self._forgetting += 1
        self.workers.submit(
            functools.partial(self._ended, owns),
            functools.partial(self._forgotten, tries=tries),
        )

    def _ended(self, owns: Sequence[Own]) -> Sequence[Own]:
        """End subscriptions, and return those that could not be ended."""
        left = []
        for own in owns:
            try:
                self.desk.forget(own)
            except StoreUnavailable:
                left.append(own)
            except Exception:
                LOG.exception('Subscription %s could not be ended', own.id)
        return left

    def _forgotten(self, left: Sequence[Own], tries: int) -> None:
        self._forgetting -= 1
        if not left:
            return
        if tries > 1:
            self._loop.call_later(PAUSE, self._forget, left, tries - 1)
            return
        # The deliverer will find nobody under their address.
        LOG.warning('%d subscriptions of a lost connection stay', len(left))
