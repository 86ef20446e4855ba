# SPDX-License-Identifier: Apache-2.0
"""A connection over which one server reports changes of queues."""

import time
from collections.abc import Iterator, Sequence, Set
from typing import Any

from redis import exceptions

from zaqar.errors import one_line
from zaqar.storage.redis import key_names
from zaqar.storage.redis.error_code_parsing import error_code
from zaqar.storage.redis.node_connection_pool import (
    Command,
    ConnectionLost,
    RedisNode,
    packed,
)
from zaqar.storage.redis.scripts import WATCH, Status

#: The version whose clusters have sharded channels: what is published there
#: goes to servers with the slot only.
SHARDED_SINCE = 7

#: Seconds within which a server answers.
TIMEOUT = 2.0

#: Sent behind other commands: its answer tells that they are done, and the
#: role of the server.
_HELLO: Command = ('HELLO', 3)

#: Errors of a queue whose slot is just moving.
_PASSING = frozenset(('ASK', 'TRYAGAIN'))

#: Errors that no retry will change.
_REFUSALS = frozenset(('ERR', 'NOPERM'))


class PubSubConnection:
    """Subscriptions to the channels of queues on one server.

    It is not used again after any method has raised ``ConnectionLost``.

    :param in_cluster: whether the server is part of a cluster
    :ivar qids: the queues
    :ivar moved: queues whose slot has gone to another server
    """

    def __init__(
        self, node: RedisNode, prefix: str, *, in_cluster: bool
    ) -> None:
        self.qids: set[str] = set()
        self.moved: set[str] = set()
        self._prefix = prefix
        self._unconfirmed: set[str] = set()
        self._unanswered = 0
        self._heard_at = 0.0
        self._shard = ''
        self._connection = node.open()
        try:
            self._send([('SCRIPT', 'LOAD', WATCH.text)])
            *_, hello = self._answers()
        except BaseException:
            self.close()
            raise
        version = int(hello[b'version'].partition(b'.')[0])
        if in_cluster and version >= SHARDED_SINCE:
            self._shard = 'S'

    @property
    def is_confirmed(self) -> bool:
        """Whether all that was sent is done."""
        return not self._unanswered

    def fileno(self) -> int:
        return int(self._connection._sock.fileno())

    def refusal(self) -> str:
        """Return why queues cannot be watched on this server, or ''."""
        channel = key_names.of_server(self._prefix)
        verbs = ('SUBSCRIBE', 'UNSUBSCRIBE')
        self._send(
            [
                *((f'{self._shard}{verb}', channel) for verb in verbs),
                (f'{self._shard}PUBLISH', channel, 0),
            ]
        )
        for answer in self._answers():
            code = error_code(answer)
            if code in _REFUSALS:
                return f'{code} {answer}'
            if code:
                raise ConnectionLost(f'{code} {answer}')
        return ''

    def subscribe(self, qids: Set[str]) -> None:
        """Report changes of some more queues.

        Each is reported as changed once no post to it is missed any more.
        """
        self.qids |= qids
        self._unconfirmed |= qids
        self._send(
            [
                command
                for qid in qids
                for command in (
                    (f'{self._shard}SUBSCRIBE', self._channel(qid)),
                    self._watch(qid),
                )
            ]
        )

    def renew(self, wanted: Set[str]) -> None:
        """Leave all but some queues, and check the others and the server."""
        if self._unanswered and time.monotonic() > self._heard_at + TIMEOUT:
            raise ConnectionLost('no answer')
        unwanted = self.qids - wanted
        self.qids -= unwanted
        verb = f'{self._shard}UNSUBSCRIBE'
        self._send(
            [
                *((verb, self._channel(qid)) for qid in unwanted),
                *(self._watch(qid) for qid in self.qids),
            ]
        )

    def read(self) -> Iterator[tuple[str, int]]:
        """Yield what has changed, as ``OnChange`` takes it."""
        while self._has_data():
            yield from self._changes(self._receive())

    def close(self) -> None:
        self._connection.disconnect()

    def _changes(self, answer: Any) -> Iterator[tuple[str, int]]:
        match answer:
            case dict():
                self._note_hello(answer)
            case [b'message' | b'smessage', channel, count]:
                yield key_names.queue_of(self._prefix, channel), int(count)
            case [b'sunsubscribe', channel, _]:
                qid = key_names.queue_of(self._prefix, channel)
                if qid in self.qids:
                    self.qids.remove(qid)
                    self.moved.add(qid)
            case [Status.OK, name, is_new]:
                qid = name.decode()
                if is_new or qid in self._unconfirmed:
                    self._unconfirmed.discard(qid)
                    yield qid, 0
            case exceptions.RedisError():
                code = error_code(answer)
                if code not in _PASSING:
                    raise ConnectionLost(f'{code} {answer}')

    def _answers(self) -> Iterator[Any]:
        """Yield the answers to all that was sent, the last that to HELLO."""
        while self._unanswered:
            answer = self._receive()
            if isinstance(answer, dict):
                self._note_hello(answer)
            yield answer

    def _note_hello(self, hello: dict[bytes, Any]) -> None:
        if hello[b'role'] == b'replica':
            # It has what the primary publishes, but no say in who is there.
            raise ConnectionLost('the server is a replica')
        self._unanswered -= 1
        self._heard_at = time.monotonic()

    def _channel(self, qid: str) -> str:
        return key_names.of_state(self._prefix, qid)

    def _watch(self, qid: str) -> Command:
        publish = f'{self._shard}PUBLISH'
        return 'EVALSHA', WATCH.sha, 1, self._channel(qid), 0, publish, qid

    def _send(self, commands: Sequence[Command]) -> None:
        if not self._unanswered:
            self._heard_at = time.monotonic()
        self._unanswered += 1
        connection = self._connection
        try:
            connection.send_packed_command(
                packed(connection, [*commands, _HELLO])
            )
        except (exceptions.RedisError, OSError) as error:
            raise ConnectionLost(one_line(error)) from error

    def _has_data(self) -> bool:
        try:
            return bool(self._connection.can_read(timeout=0))
        except (exceptions.RedisError, OSError) as error:
            raise ConnectionLost(one_line(error)) from error

    def _receive(self) -> Any:
        """Return an answer or a message; errors, too."""
        try:
            return self._connection.read_response(push_request=True)
        except exceptions.ResponseError as error:
            return error
        except (exceptions.RedisError, OSError) as error:
            raise ConnectionLost(one_line(error)) from error
