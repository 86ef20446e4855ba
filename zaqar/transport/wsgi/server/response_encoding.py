# SPDX-License-Identifier: Apache-2.0
"""Encoding of responses, as they are sent."""

import email.utils
import functools
import http
import time

from zaqar.errors import ZaqarError
from zaqar.transport.wsgi import application_call
from zaqar.transport.wsgi.responses import Headers, error_response

#: Statuses whose answers end with their heads.
_BODILESS = frozenset((204, 304))

#: What only the server decides.
_OURS = frozenset(('connection', 'date', 'transfer-encoding'))

CONTINUE = b'HTTP/1.1 100 Continue\r\n\r\n'

_LINES = {
    status.value: f'HTTP/1.1 {status.value} {status.phrase}\r\n'
    for status in http.HTTPStatus
}


def encode(
    status: int,
    headers: Headers,
    content: bytes,
    *,
    is_head: bool = False,
    closes: bool = False,
    keeps_old: bool = False,
) -> bytes:
    """Return the bytes of an answer.

    :param is_head: whether the request wants the head alone
    :param closes: whether the connection ends with it
    :param keeps_old: whether a client of HTTP/1.0 is to keep the connection
    :raises ValueError: a header has the end of a line in it
    """
    lines = [_LINES.get(status) or f'HTTP/1.1 {status} \r\n']
    has_length = status in _BODILESS
    for name, value in headers:
        lower = _lower(name)
        if lower == 'content-length':
            # A wrong one would make answers of others of what follows.
            if has_length or not is_head:
                continue
            has_length = True
        elif lower in _OURS:
            continue
        lines.append(f'{lower}: {value}\r\n')
    if not has_length:
        lines.append(f'content-length: {len(content)}\r\n')
    if closes:
        lines.append('connection: close\r\n')
    elif keeps_old:
        lines.append('connection: keep-alive\r\n')
    lines.append(_date(int(time.time())))
    text = ''.join(lines)
    if text.count('\n') != len(lines) or text.count('\r') != len(lines):
        raise ValueError
    head = f'{text}\r\n'.encode('latin-1')
    return head if is_head or status in _BODILESS else head + content


def encode_refusal(error: ZaqarError) -> bytes:
    """Return the bytes that answer what is no request, and end the connection.

    No layer of the application sees it.
    """
    app = error_response(error)
    status, headers, content = application_call.call(app, {})
    return encode(status, headers, content, closes=True)


# All of them are names of ours, or of middleware.
@functools.lru_cache(maxsize=256)
def _lower(name: str) -> str:
    return name.lower()


@functools.lru_cache(maxsize=1)
def _date(second: int) -> str:
    return f'date: {email.utils.formatdate(second, usegmt=True)}\r\n'
