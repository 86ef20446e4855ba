# SPDX-License-Identifier: Apache-2.0
"""Fast coding of usual frames: whole, short, masked, one per message.

All other frames, and malformed ones, are left to autobahn.
"""

from collections.abc import Sequence

from zaqar.transport.websocket.frame_and_answer_types import Frame

#: A final text or binary frame without extensions.
_TEXT = 0x81
_BINARY = 0x82

_MASKED = 0x80
_SHORT = 126
_LONG = 127

_NO_MASK = bytes(4)


def take(
    data: bytes, at: int, end: int, most: int
) -> tuple[Frame, int] | None:
    """Return the frame at a place and where it ends.

    :param most: bytes that it may have
    :returns: None if it is not plain, or not all there
    """
    if end - at < 6:
        return None
    first, size = data[at], data[at + 1] - _MASKED
    if first not in (_TEXT, _BINARY) or size < 0 or size == _LONG:
        return None
    at += 2
    if size == _SHORT:
        size = int.from_bytes(data[at : at + 2], 'big')
        at += 2
        if size < _SHORT:
            return None
    start = at + 4
    stop = start + size
    if stop > end or size > most:
        return None
    text = _unmasked(data[start:stop], data[at:start])
    if first == _TEXT and not _is_utf8(text):
        return None
    return Frame(text, first == _BINARY), stop


def framed(frame: Frame) -> Sequence[bytes]:
    """Return a frame as servers send it, in parts: a long one uncopied."""
    first = _BINARY if frame.is_binary else _TEXT
    size = len(frame.data)
    if size < _SHORT:
        return (b'%c%c%b' % (first, size, frame.data),)
    if size < 1 << 16:
        head = b'%c%c%b' % (first, _SHORT, size.to_bytes(2, 'big'))
        return (head + frame.data,)
    return b'%c%c%b' % (first, _LONG, size.to_bytes(8, 'big')), frame.data


def _unmasked(data: bytes, mask: bytes) -> bytes:
    if mask == _NO_MASK:
        return data
    size = len(data)
    key = (mask * (size // 4 + 1))[:size]
    number = int.from_bytes(data, 'little') ^ int.from_bytes(key, 'little')
    return number.to_bytes(size, 'little')


def _is_utf8(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
