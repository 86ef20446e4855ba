# SPDX-License-Identifier: Apache-2.0
"""The floor: the least cost of an answer.

A bare WSGI function under the server that ``zaqar-server`` uses, with as many
threads. For each request it makes the call to the message store that the
service makes, on the same data, and returns the same body. It decides,
checks and decodes nothing: beyond the path of a request, it knows everything
in advance.
"""

from __future__ import annotations

import functools
import secrets
import sys
import time
from collections.abc import Callable, Iterable, Sequence

from benchmarks import target
from zaqar import service_assembly
from zaqar.objects import Message, MessageSpan
from zaqar.pools.queue_catalogue import Catalogue
from zaqar.transport import listening_socket
from zaqar.transport.wsgi.server import http_server
from zaqar.transport.wsgi_types import Environ, StartResponse

#: Seconds of a claim and of its grace period.
CLAIM_TTL, GRACE = 3600, 60

#: Messages of a page and of a claim.
PAGE, CLAIM = 10, 5

#: Queues into which posts of several messages go are named for how many.
POSTS = {'post-1': 1, 'post-10': 10}

_CREATED = '%Y-%m-%dT%H:%M:%SZ'

Answer = tuple[str, str, bytes]


class Floor:
    """The function."""

    def __init__(self, catalogue: Catalogue) -> None:
        # Names do not change hands while a benchmark runs.
        self._queue = functools.cache(
            lambda project, name: target.Queue(catalogue, project, name)
        )
        self._calls: dict[
            tuple[str, str, int],
            Callable[[target.Queue, Sequence[str], Environ], Answer],
        ] = {
            ('POST', 'messages', 5): _post,
            ('GET', 'messages', 5): _list,
            ('GET', 'messages', 6): _get,
            ('DELETE', 'messages', 6): _delete,
            ('POST', 'claims', 5): _claim,
            ('GET', 'stats', 5): _stats,
        }

    def __call__(
        self, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        steps = environ['PATH_INFO'].split('/')
        call = self._calls[environ['REQUEST_METHOD'], steps[4], len(steps)]
        queue = self._queue(environ['HTTP_X_PROJECT_ID'], steps[3])
        status, location, body = call(queue, steps, environ)
        headers = [('Content-Length', str(len(body)))] if body else []
        if body:
            headers.append(('Content-Type', 'application/json'))
        if location:
            headers.append(('Location', location))
        start_response(status, headers)
        return [body]


def _post(
    queue: target.Queue, steps: Sequence[str], environ: Environ
) -> Answer:
    environ['wsgi.input'].read()
    ids = queue.post(POSTS.get(queue.name, 1))
    folder = f'{queue.path}/messages'
    links = '","'.join([f'{folder}/{item}' for item in ids])
    body = f'{{"resources":["{links}"]}}'.encode()
    return '201 Created', f'{folder}?ids={",".join(ids)}', body


def _list(
    queue: target.Queue, steps: Sequence[str], environ: Environ
) -> Answer:
    marker = environ['QUERY_STRING'].partition('marker=')[2] or None
    now = queue.now()
    page = queue.store.list(
        queue.qid,
        now=now,
        limit=PAGE,
        marker=marker,
        exclude_client=target.READER,
        include_delayed=True,
    )
    folder = f'{queue.path}/messages'
    body = (
        b'{"messages":[%b],"links":[{"rel":"next",'
        b'"href":"%b?marker=%b&limit=%d"}]}'
    ) % (
        _messages(page.messages, folder, '', now),
        folder.encode(),
        (page.resume or '').encode(),
        PAGE,
    )
    return '200 OK', '', body


def _get(
    queue: target.Queue, steps: Sequence[str], environ: Environ
) -> Answer:
    now = queue.now()
    messages = queue.store.get(queue.qid, [steps[5]], now=now)
    body = _messages(messages, f'{queue.path}/messages', '', now)
    return '200 OK', '', body


def _delete(
    queue: target.Queue, steps: Sequence[str], environ: Environ
) -> Answer:
    claim_id = environ['QUERY_STRING'].partition('claim_id=')[2] or None
    queue.store.delete(queue.qid, steps[5], now=queue.now(), claim_id=claim_id)
    return '204 No Content', '', b''


def _claim(
    queue: target.Queue, steps: Sequence[str], environ: Environ
) -> Answer:
    environ['wsgi.input'].read()
    claim_id = secrets.token_hex(16)
    now = queue.now()
    claim = queue.store.claim(
        queue.qid,
        now=now,
        claim_id=claim_id,
        ttl=CLAIM_TTL,
        grace=GRACE,
        limit=CLAIM,
    )
    if claim is None:
        return '204 No Content', '', b''
    tail = f'?claim_id={claim_id}'
    inner = _messages(claim.messages, f'{queue.path}/messages', tail, now)
    location = f'{queue.path}/claims/{claim_id}'
    return '201 Created', location, b'{"messages":[%b]}' % inner


def _stats(
    queue: target.Queue, steps: Sequence[str], environ: Environ
) -> Answer:
    now = queue.now()
    stats = queue.store.stats(queue.qid, now=now)
    counts = (
        f'"claimed":{stats.claimed},"free":{stats.free},"total":{stats.total}'
    )
    for name, span in (('oldest', stats.oldest), ('newest', stats.newest)):
        if span is not None:
            counts += f',"{name}":{_span(span, queue.path, now)}'
    return '200 OK', '', f'{{"messages":{{{counts}}}}}'.encode()


def _span(span: MessageSpan, path: str, now: int) -> str:
    created = time.strftime(_CREATED, time.gmtime(span.created_at // 1000))
    age = (now - span.created_at) // 1000
    href = f'{path}/messages/{span.id}'
    return f'{{"href":"{href}","age":{age},"created":"{created}"}}'


def _messages(
    messages: Sequence[Message], folder: str, tail: str, now: int
) -> bytes:
    return b','.join(
        [
            b'{"id":"%b","href":"%b/%b%b","ttl":%d,"age":%d,"body":%b}'
            % (
                item.id.encode(),
                folder.encode(),
                item.id.encode(),
                tail.encode(),
                item.ttl,
                (now - item.created_at) // 1000,
                item.body,
            )
            for item in messages
        ]
    )


def main(words: Sequence[str]) -> None:
    """Serve until SIGTERM.

    :param words: the configuration files of the server, and one with a port
        of our own
    """
    conf = target.configuration(words)
    conf.register_opts(http_server.OPTS, http_server.GROUP)
    opened = service_assembly.Service(conf)
    settings = conf[http_server.GROUP]
    http_server.serve(
        listening_socket.listen(
            settings.bind,
            settings.port,
            settings.backlog,
            http_server.GROUP,
        ),
        Floor(opened.catalogue),
        settings,
        opened.longest_body,
        waits_in_greenlets=opened.waits_in_greenlets,
    )


if __name__ == '__main__':
    main(sys.argv[1:])
