# SPDX-License-Identifier: Apache-2.0
"""Messages for many connections: encoded once for each type of frames."""

import asyncio
import functools
from collections.abc import Sequence

from zaqar.transport.websocket import frame_codecs, rfc6455_fast_path
from zaqar.transport.websocket.connection_manager import Connections
from zaqar.transport.websocket.connection_state_machine import Pushed
from zaqar.transport.websocket.frame_and_answer_types import Frame
from zaqar.transport.websocket.state_machine_commands import Write

#: Bytes of messages beyond which the loop does not encode them itself.
_LONG = 64 * 1024

#: Bytes that are written before others on the loop have their turn, and what
#: a write costs beside its bytes.
_TURN = 256 * 1024
_WRITE = 1024


class MessagePushes:
    """Pushes messages to the connections of a process."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def push(
        self, connection_ids: Sequence[str], texts: Sequence[bytes]
    ) -> Sequence[Pushed]:
        """Send messages, JSON texts, to connections, in one write to each."""
        writes: dict[bool, Write] = {}
        results = []
        spent = 0
        for connection_id in connection_ids:
            if spent > _TURN:
                spent = 0
                await asyncio.sleep(0)
            connection = self._connections.get(connection_id)
            if connection is None:
                results.append(Pushed.GONE)
                continue
            is_binary = connection.machine.pushes_binary
            write = writes.get(is_binary)
            if write is None:
                frames = await self._encoded(texts, is_binary)
                write = writes[is_binary] = Write(frames)
            pushed, commands = connection.machine.pushed(write)
            self._connections.perform(connection, commands)
            results.append(pushed)
            spent += _WRITE + len(write.data)
        return results

    async def _encoded(self, texts: Sequence[bytes], is_binary: bool) -> bytes:
        """Return messages as frames of a type."""
        encode = functools.partial(_frames, texts, is_binary)
        is_long = is_binary and sum(map(len, texts)) > _LONG
        if not is_long:
            return encode()
        frames: bytes = await self._connections.workers.run(encode)
        return frames


def _frames(texts: Sequence[bytes], is_binary: bool) -> bytes:
    frames = (
        Frame(frame_codecs.packed(text) if is_binary else text, is_binary)
        for text in texts
    )
    return b''.join(
        part for frame in frames for part in rfc6455_fast_path.framed(frame)
    )
