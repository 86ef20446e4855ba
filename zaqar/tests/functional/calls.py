# SPDX-License-Identifier: Apache-2.0
"""What the two Python libraries ask, call by call.

The rows become the tables in ``api-ref/clients.rst``; ``test_calls.py`` makes
each call and compares what is asked with its row.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Q = '/v2/queues/{queue}'
MESSAGE = f'{Q}/messages/{{message}}'
CLAIM = f'{Q}/claims/{{claim}}'
SUBSCRIPTION = f'{Q}/subscriptions/{{subscription}}'


@dataclass(frozen=True)
class Call:
    """A row.

    :ivar text: the call as the documentation shows it
    :ivar make: makes it, given a library's entry point; returns what is to
        be made after the preparation
    :ivar asks: the requests, each with its status
    :ivar result: what the caller gets
    """

    text: str
    make: Callable[[Any], Callable[[], Any]]
    asks: tuple[str, ...]
    result: str


def _posted(client: Any, *bodies: Any) -> Any:
    queue = client.queue('jobs')
    queue.post([{'body': body, 'ttl': 300} for body in bodies])
    return queue


def _claimed(client: Any) -> Any:
    claim = _posted(client, 1).claim(ttl=60, grace=60)
    list(claim)
    return claim


def _subscription(client: Any) -> Any:
    there = {'subscriber': 'http://example.org/a', 'ttl': 300}
    return client.subscription('jobs', **there)


def _pool(client: Any, name: str = 'near') -> Any:
    return client.pool(name, uri=client.place(name), weight=1)


def _flavor(client: Any) -> Any:
    _pool(client)
    return client.flavor('fast', pool_list=['near'])


def _of_message(client: Any) -> Any:
    queue = _posted(client, 1)
    return next(iter(queue.messages(echo=True)))


def _id(message: Any) -> str:
    return str(message.href).rpartition('/')[2].partition('?')[0]


ZAQARCLIENT = (
    Call('client.ping()', lambda c: c.ping, ('GET /v2/ping 204',), '``True``'),
    Call(
        'client.homedoc()',
        lambda c: c.homedoc,
        ('GET /v2/ 200',),
        'the document',
    ),
    Call(
        'client.queues()',
        lambda c: lambda: list(c.queues()[0]),
        ('GET /v2/queues 200',),
        'an iterator over queues, and the count where asked for',
    ),
    Call(
        'client.queue(name, force_create=True)',
        lambda c: lambda: c.queue('jobs', force_create=True),
        (f'PUT {Q} 201',),
        'the queue; without ``force_create`` nothing is asked',
    ),
    Call(
        'queue.exists()',
        lambda c: c.queue('jobs').exists,
        (f'HEAD {Q} 405',),
        '``True`` for every name: there is no such request, and queues are '
        'there when they are used',
    ),
    Call(
        'queue.metadata()',
        lambda c: c.queue('jobs').metadata,
        (f'GET {Q} 200',),
        'the metadata',
    ),
    Call(
        'queue.metadata(new_meta)',
        lambda c: (
            lambda: c.queue('jobs', force_create=True).metadata({'n': 1})
        ),
        (f'PUT {Q} 201', f'GET {Q} 200', f'PATCH {Q} 200'),
        'the metadata as it is then; the queue has to exist',
    ),
    Call(
        'queue.stats',
        lambda c: lambda: c.queue('jobs').stats,
        (f'GET {Q}/stats 200',),
        'the counts',
    ),
    Call(
        'queue.purge()',
        lambda c: c.queue('jobs').purge,
        (f'POST {Q}/purge 204',),
        'nothing',
    ),
    Call(
        'queue.signed_url()',
        lambda c: c.queue('jobs').signed_url,
        (f'POST {Q}/share 200',),
        'what to send as headers',
    ),
    Call(
        'queue.delete()',
        lambda c: c.queue('jobs').delete,
        (f'DELETE {Q} 204',),
        'nothing',
    ),
    Call(
        'queue.post(messages)',
        lambda c: lambda: c.queue('jobs').post({'body': 1, 'ttl': 300}),
        (f'POST {Q}/messages 201',),
        'the addresses of the messages',
    ),
    Call(
        'queue.messages()',
        lambda c: lambda: list(c.queue('jobs').messages()),
        (f'GET {Q}/messages 200',),
        'an iterator over the first page; ``stream()`` reads on',
    ),
    Call(
        'queue.messages(*ids)',
        lambda c: (
            lambda queue, message: lambda: list(queue.messages(_id(message)))
        )(c.queue('jobs'), _of_message(c)),
        (f'GET {Q}/messages 200',),
        'those messages',
    ),
    Call(
        'queue.message(id)',
        lambda c: (lambda m: lambda: c.queue('jobs').message(_id(m)))(
            _of_message(c)
        ),
        (f'GET {MESSAGE} 200',),
        'the message',
    ),
    Call(
        'message.delete()',
        lambda c: _of_message(c).delete,
        (f'DELETE {MESSAGE} 204',),
        'nothing',
    ),
    Call(
        'queue.delete_messages(*ids)',
        lambda c: (lambda m: lambda: c.queue('jobs').delete_messages(_id(m)))(
            _of_message(c)
        ),
        (f'DELETE {Q}/messages 204',),
        'nothing',
    ),
    Call(
        'queue.pop(count)',
        lambda c: (lambda queue: lambda: list(queue.pop(1)))(_posted(c, 1)),
        (f'DELETE {Q}/messages 200',),
        'the messages, which are gone then',
    ),
    Call(
        'queue.claim(ttl, grace)',
        lambda c: (lambda queue: lambda: list(queue.claim(ttl=60, grace=60)))(
            _posted(c, 1)
        ),
        (f'POST {Q}/claims 201',),
        'an iterator over the messages; without ``ttl`` and ``grace`` the '
        'library sends nulls, and gets 400',
    ),
    Call(
        'queue.claim(id=id)',
        lambda c: (
            lambda claim: lambda: c.queue('jobs').claim(id=claim.id).ttl
        )(_claimed(c)),
        (f'GET {CLAIM} 200',),
        'the claim',
    ),
    Call(
        'claim.update(ttl, grace)',
        lambda c: (lambda claim: lambda: claim.update(ttl=90, grace=60))(
            _claimed(c)
        ),
        (f'PATCH {CLAIM} 204',),
        'nothing',
    ),
    Call(
        'claim.delete()',
        lambda c: _claimed(c).delete,
        (f'DELETE {CLAIM} 204',),
        'nothing',
    ),
    Call(
        'client.subscription(queue, subscriber, ttl)',
        lambda c: lambda: _subscription(c),
        (f'POST {Q}/subscriptions 201', f'GET {SUBSCRIPTION} 200'),
        'the subscription',
    ),
    Call(
        'client.subscriptions(queue)',
        lambda c: lambda: list(c.subscriptions('jobs')),
        (f'GET {Q}/subscriptions 200',),
        'an iterator over subscriptions',
    ),
    Call(
        'subscription.update(data)',
        lambda c: (lambda s: lambda: s.update({'ttl': 600}))(_subscription(c)),
        (f'PATCH {SUBSCRIPTION} 204',),
        'nothing',
    ),
    Call(
        'subscription.delete()',
        lambda c: _subscription(c).delete,
        (f'DELETE {SUBSCRIPTION} 204',),
        'nothing',
    ),
    Call(
        'client.pool(name, uri, weight)',
        lambda c: lambda: _pool(c),
        ('PUT /v2/pools/{pool} 201',),
        'the pool',
    ),
    Call(
        'client.pools()',
        lambda c: lambda: list(c.pools()),
        ('GET /v2/pools 200',),
        'an iterator over pools',
    ),
    Call(
        'pool.get()',
        lambda c: _pool(c).get,
        ('GET /v2/pools/{pool} 200',),
        'the pool as a dictionary',
    ),
    Call(
        'pool.update(data)',
        lambda c: (lambda pool: lambda: pool.update({'weight': 5}))(_pool(c)),
        ('PATCH /v2/pools/{pool} 200',),
        'nothing',
    ),
    Call(
        'pool.delete()',
        lambda c: _pool(c).delete,
        ('DELETE /v2/pools/{pool} 204',),
        'nothing; 403 while a flavor or a queue needs it',
    ),
    Call(
        'client.flavor(name, pool_list)',
        lambda c: (lambda _pool: lambda: c.flavor('fast', pool_list=['near']))(
            _pool(c)
        ),
        ('PUT /v2/flavors/{flavor} 201',),
        'the flavor',
    ),
    Call(
        'client.flavors()',
        lambda c: lambda: list(c.flavors()),
        ('GET /v2/flavors 200',),
        'an iterator over flavors',
    ),
    Call(
        'flavor.get()',
        lambda c: _flavor(c).get,
        ('GET /v2/flavors/{flavor} 200',),
        'the flavor as a dictionary',
    ),
    Call(
        'flavor.update(data)',
        lambda c: (lambda f: lambda: f.update({'pool_list': ['near']}))(
            _flavor(c)
        ),
        ('PATCH /v2/flavors/{flavor} 200',),
        'nothing',
    ),
    Call(
        'flavor.delete()',
        lambda c: _flavor(c).delete,
        ('DELETE /v2/flavors/{flavor} 204',),
        'nothing',
    ),
    Call(
        'client.health()',
        lambda c: c.health,
        ('GET /v2/health 200',),
        'the state of every store',
    ),
)


def _one_message(proxy: Any) -> Any:
    proxy.post_message('jobs', [{'body': 1, 'ttl': 300}])
    return next(iter(proxy.messages('jobs', echo=True)))


def _one_claim(proxy: Any) -> Any:
    proxy.post_message('jobs', [{'body': 1, 'ttl': 300}])
    claim = proxy.create_claim('jobs', ttl=60, grace=60)
    claim.id = claim.messages[0]['href'].split('=')[-1]
    return claim


def _one_subscription(proxy: Any) -> Any:
    return proxy.create_subscription(
        'jobs', subscriber='http://example.org/a', ttl=300
    )


OPENSTACKSDK = (
    Call(
        'create_queue(name=name)',
        lambda p: lambda: p.create_queue(name='jobs'),
        (f'PUT {Q} 201',),
        'the queue',
    ),
    Call(
        'get_queue(queue)',
        lambda p: lambda: p.get_queue('jobs'),
        (f'GET {Q} 200',),
        'the queue, with its description',
    ),
    Call(
        'queues()',
        lambda p: lambda: list(p.queues()),
        ('GET /v2/queues 200',),
        'all queues, page by page',
    ),
    Call(
        'delete_queue(queue)',
        lambda p: lambda: p.delete_queue('jobs'),
        (f'DELETE {Q} 204',),
        'nothing',
    ),
    Call(
        'post_message(queue, messages)',
        lambda p: lambda: p.post_message('jobs', [{'body': 1, 'ttl': 300}]),
        (f'POST {Q}/messages 201',),
        'the addresses of the messages',
    ),
    Call(
        'messages(queue)',
        lambda p: lambda: list(p.messages('jobs')),
        (f'GET {Q}/messages 200',),
        'all messages, page by page',
    ),
    Call(
        'get_message(queue, message)',
        lambda p: (lambda m: lambda: p.get_message('jobs', m))(
            _one_message(p)
        ),
        (f'GET {MESSAGE} 200',),
        'the message',
    ),
    Call(
        'delete_message(queue, message)',
        lambda p: (lambda m: lambda: p.delete_message('jobs', m))(
            _one_message(p)
        ),
        (f'DELETE {MESSAGE} 204',),
        'nothing',
    ),
    Call(
        'create_claim(queue, ttl, grace)',
        lambda p: lambda: p.create_claim('jobs', ttl=60, grace=60),
        (f'POST {Q}/claims 204',),
        'the claim, here without messages; ``limit`` has no effect, since '
        'it is sent in the body',
    ),
    Call(
        'get_claim(queue, claim)',
        lambda p: (lambda claim: lambda: p.get_claim('jobs', claim.id))(
            _one_claim(p)
        ),
        (f'GET {CLAIM} 200',),
        'the claim with its messages',
    ),
    Call(
        'update_claim(queue, claim, ttl)',
        lambda p: (
            lambda claim: lambda: p.update_claim('jobs', claim, ttl=90)
        )(_one_claim(p)),
        (f'PATCH {CLAIM} 204',),
        'the claim',
    ),
    Call(
        'delete_claim(queue, claim)',
        lambda p: (lambda claim: lambda: p.delete_claim('jobs', claim.id))(
            _one_claim(p)
        ),
        (f'DELETE {CLAIM} 204',),
        'nothing',
    ),
    Call(
        'create_subscription(queue, subscriber, ttl)',
        lambda p: lambda: _one_subscription(p),
        (f'POST {Q}/subscriptions 201',),
        'the subscription',
    ),
    Call(
        'subscriptions(queue)',
        lambda p: lambda: list(p.subscriptions('jobs')),
        (f'GET {Q}/subscriptions 200',),
        'all subscriptions, page by page',
    ),
    Call(
        'get_subscription(queue, subscription)',
        lambda p: (lambda s: lambda: p.get_subscription('jobs', s.id))(
            _one_subscription(p)
        ),
        (f'GET {SUBSCRIPTION} 200',),
        'the subscription',
    ),
    Call(
        'delete_subscription(queue, subscription)',
        lambda p: (lambda s: lambda: p.delete_subscription('jobs', s.id))(
            _one_subscription(p)
        ),
        (f'DELETE {SUBSCRIPTION} 204',),
        'nothing',
    ),
)


def table(calls: tuple[Call, ...]) -> str:
    """Return rows as they stand in the documentation."""
    lines = [
        '.. list-table::',
        '   :header-rows: 1',
        '   :widths: 28 50 22',
        '',
        '   * - Call',
        '     - Requests',
        '     - Result',
    ]
    for call in calls:
        requests = [request.rpartition(' ') for request in call.asks]
        statuses = ', '.join(status for _, _, status in requests)
        cells = [
            [f'``{call.text}``'],
            [f'``{path}``,' for path, _, _ in requests],
            textwrap.wrap(f'{statuses}; {call.result}', 72),
        ]
        cells[1][-1] = cells[1][-1].removesuffix(',')
        for number, cell in enumerate(cells):
            first, *more = cell
            lines.append(f'   {" " if number else "*"} - {first}')
            lines += [f'       {line}' for line in more]
    return '\n'.join(lines) + '\n'
