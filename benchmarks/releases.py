# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.releases``: two releases on one store.

A server of another tree fills an empty store. Its tables are upgraded while it
runs, and a server of this tree is started beside it, with quotas. Then each
uses what the other has made, in both directions; at last clients of both post,
claim and delete at full speed. Prints a line for each check; the exit code is
1 if one fails.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import pathlib
import sys
import tempfile
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import requests

from benchmarks import databases, program_options, target
from benchmarks.builds import Server
from benchmarks.receiver import Receiver

PROJECT = 'mixed'

#: Seconds of full speed, and to wait for what has not come.
BUSY = 8.0
PATIENCE = 40.0

#: Messages of a post, and messages posted with a subscriber, at each server.
FEW, DELIVERED = 10, 20

#: Bodies of this many characters, so that counts of bytes are round numbers.
SIZE = 98

_QUOTAS = """
[quotas]
queues = 40
subscriptions = 30
message_bytes = 1000000
"""

_REST = """
[notification]
allowed_networks = 127.0.0.0/8
"""


class Client:
    """A client of one server.

    :ivar name: of its release
    """

    def __init__(self, name: str, server: Server) -> None:
        self.name = name
        self._url = server.url
        self._session = requests.Session()
        self._session.headers.update(
            {'X-Project-ID': PROJECT, 'Client-ID': str(uuid.uuid4())}
        )

    def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        status: int | Sequence[int] = 200,
        **headers: str,
    ) -> Any:
        """Send a request; return the document of its answer."""
        answer = self._session.request(
            method,
            self._url + path,
            json=body,
            timeout=30,
            headers={key.replace('_', '-'): headers[key] for key in headers},
        )
        wanted = [status] if isinstance(status, int) else status
        assert answer.status_code in wanted, (
            f'{self.name}: {method} {path}: {answer.status_code} {answer.text}'
        )
        return answer.json() if answer.content else None

    def post(self, queue: str, *bodies: Any) -> list[str]:
        """Post messages; return their ids."""
        messages = [{'body': body, 'ttl': 3600} for body in bodies]
        path = f'/v2/queues/{queue}/messages'
        made = self('POST', path, {'messages': messages}, 201)
        return [href.rpartition('/')[2] for href in made['resources']]

    def list(self, queue: str) -> list[Any]:
        """Return the bodies of messages, claimed ones too."""
        path = f'/v2/queues/{queue}/messages'
        query = '?echo=true&include_claimed=true&limit=20'
        page = self('GET', path + query)
        return [one['body'] for one in page['messages']]

    def claim(self, queue: str, limit: int = 5) -> list[dict[str, Any]]:
        """Return claimed messages."""
        path = f'/v2/queues/{queue}/claims?limit={limit}'
        claimed = self('POST', path, {'ttl': 300, 'grace': 60}, (201, 204))
        return claimed['messages'] if claimed else []

    def delete(self, message: Mapping[str, Any]) -> None:
        """Delete a claimed message."""
        self('DELETE', message['href'], status=204)

    def stats(self, queue: str) -> tuple[int, int]:
        """Return the numbers of free and of claimed messages."""
        path = f'/v2/queues/{queue}/stats'
        counts = self('GET', path)['messages']
        return counts['free'], counts['claimed']

    def quotas(self) -> dict[str, dict[str, int]]:
        """Return the quotas of the project, which the newer one knows."""
        newest: dict[str, Any] = {'OpenStack_API_Version': 'messaging 2.1'}
        shown: dict[str, dict[str, int]] = self('GET', '/v2/quotas', **newest)[
            'quotas'
        ]
        return shown


_PATCH = 'application/openstack-messaging-v2.0-json-patch'

#: Verifies something of two clients: what one has made, the other uses.
Check = Callable[[Client, Client], None]

_names = itertools.count()


def _queue() -> str:
    return f'q{next(_names)}'


def claims(maker: Client, user: Client) -> None:
    """Post here; list, claim, release and delete there."""
    queue = _queue()
    maker.post(queue, *range(FEW))
    assert user.list(queue) == [*range(FEW)]
    claimed = user.claim(queue)
    assert [one['body'] for one in claimed] == [*range(5)]
    assert maker.stats(queue) == user.stats(queue) == (5, 5)
    # What one holds, the other one deletes and releases.
    maker.delete(claimed[0])
    path, _, claim = claimed[1]['href'].rpartition('?claim_id=')
    maker('DELETE', f'/v2/queues/{queue}/claims/{claim}', status=204)
    assert maker.stats(queue) == user.stats(queue) == (9, 0)
    user('DELETE', path, status=204)
    popped = maker('DELETE', f'/v2/queues/{queue}/messages?pop=8')
    assert [one['body'] for one in popped['messages']] == [*range(2, FEW)]
    assert user.list(queue) == []


def metadata(maker: Client, user: Client) -> None:
    """Change a queue here; its posts and dead letters there follow."""
    queue, dead = _queue(), _queue()
    user.post(queue, 0)
    settings = {'_max_claim_count': 1, '_dead_letter_queue': dead}
    patch = [
        {'op': 'add', 'path': f'/metadata/{name}', 'value': value}
        for name, value in settings.items()
    ]
    maker('PUT', f'/v2/queues/{dead}', status=201)
    maker('PATCH', f'/v2/queues/{queue}', patch, Content_Type=_PATCH)
    for client, bodies in ((user, [0]), (maker, [])):
        claimed = client.claim(queue)
        assert [one['body'] for one in claimed] == bodies, client.name
        for one in claimed:
            claim = one['href'].rpartition('=')[2]
            path = f'/v2/queues/{queue}/claims/{claim}'
            client('DELETE', path, status=204)
    for client in (user, maker):
        assert (client.list(queue), client.list(dead)) == ([], [0])


def removal(maker: Client, user: Client) -> None:
    """Purge and delete queues here; there they are empty, then new."""
    queue = _queue()
    user.post(queue, *range(FEW))
    maker('POST', f'/v2/queues/{queue}/purge', status=204)
    assert user.list(queue) == []
    user.post(queue, 'a')
    assert maker.list(queue) == ['a']
    maker('DELETE', f'/v2/queues/{queue}', status=204)
    user.post(queue, 'b')
    assert maker.list(queue) == user.list(queue) == ['b']


def subscriptions(maker: Client, user: Client) -> None:
    """Subscribe here; what both post is delivered."""
    queue, receiver = _queue(), Receiver()
    path = f'/v2/queues/{queue}/subscriptions'
    there = {'subscriber': f'{receiver.url}/s', 'ttl': 3600}
    made = maker('POST', path, there, 201)['subscription_id']
    shown = user('GET', f'{path}/{made}')
    assert shown['subscriber'] == there['subscriber']
    for number in range(DELIVERED):
        for client in (maker, user):
            place = 2 * number + (client is user)
            client.post(queue, {'n': place, 'at': time.time()})
    end = time.monotonic() + PATIENCE
    wanted = {*range(2 * DELIVERED)}
    while {place for _, place, _ in receiver.got()} != wanted:
        assert time.monotonic() < end, 'not all were delivered'
        time.sleep(0.2)
    user('PATCH', f'{path}/{made}', {'ttl': 600}, 204)
    user('DELETE', f'{path}/{made}', status=204)
    assert maker('GET', path)['subscriptions'] == []
    receiver.stop()


def busy(maker: Client, user: Client) -> None:
    """Post, claim and delete with both; no message is lost or comes twice."""
    queue = _queue()
    sides = (maker, user)
    posted: list[int] = []
    taken: collections.Counter[int] = collections.Counter()
    lock, errors = threading.Lock(), []
    end = time.monotonic() + BUSY
    numbers = itertools.count()

    def produce(client: Client) -> None:
        while time.monotonic() < end:
            some = [next(numbers) for _ in range(3)]
            client.post(queue, *some)
            with lock:
                posted.extend(some)

    def consume(client: Client) -> None:
        while (messages := client.claim(queue)) or time.monotonic() < end:
            with lock:
                taken.update(one['body'] for one in messages)
            for one in messages:
                client.delete(one)

    def run(work: Callable[[Client], None], client: Client) -> None:
        try:
            work(client)
        except Exception as error:
            errors.append(error)

    threads = [
        threading.Thread(target=run, args=(work, client))
        for client in sides
        for work in (produce, produce, consume, consume)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors[0]
    for client in sides:
        consume(client)
    assert {*posted} == {*taken}, f'{len({*posted} - {*taken})} are lost'
    twice = sum(count > 1 for count in taken.values())
    assert not twice, f'{twice} of {len(taken)} came twice'


def counts(older: Client, newer: Client) -> None:
    """Count what both create for the quotas of the newer one."""
    before = newer.quotas()
    for client in (older, newer):
        client('PUT', f'/v2/queues/{_queue()}', status=201)
    assert newer.quotas()['queues']['usage'] == before['queues']['usage'] + 2
    older('GET', '/v2/queues')


def count_of_bytes(older: Client, newer: Client) -> None:
    """Count bytes; show what is off until the queue is empty."""
    queue = _queue()
    newer('PUT', f'/v2/queues/{queue}', status=201)
    empty = _bytes(newer)
    newer.post(queue, *['x' * SIZE] * 4)
    before = _bytes(newer)
    older.post(queue, *['x' * SIZE] * 4)
    off = _bytes(newer) - before - 400
    print(f'  off by {off} bytes after posts of 400 by the older one')
    for message in older.claim(queue, 4):
        older.delete(message)
    off = _bytes(newer) - before
    print(f'  off by {off} bytes after deletions of 400 by the older one')
    for message in newer.claim(queue, 4):
        newer.delete(message)
    assert _bytes(newer) == empty


def _bytes(client: Client) -> int:
    return client.quotas()['message_bytes']['usage']


BOTH_WAYS: Sequence[Check] = (claims, metadata, removal, subscriptions, busy)
ONE_WAY: Sequence[Check] = (counts, count_of_bytes)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = program_options.parser('releases', __doc__, has_results=False)
    add = parser.add_argument
    program_options.add_other_build(parser, required=True)
    add('--store', action='append', help='as of benchmarks.bench')
    add('--check', action='append', help='name of one; may be given again')
    options = parser.parse_args(arguments)
    failed = 0
    for name, chosen in databases.chosen(options.store):
        with (
            chosen as source,
            tempfile.TemporaryDirectory(prefix='zaqar-bench-') as folder,
            _pair(pathlib.Path(folder), options.against, source) as pair,
        ):
            print(source.title or name)
            older, newer = pair
            runs = [(check, older, newer) for check in ONE_WAY]
            for check in BOTH_WAYS:
                runs += [(check, older, newer), (check, newer, older)]
            failed += sum(
                not _passes(*run)
                for run in runs
                if not options.check or run[0].__name__ in options.check
            )
    return int(bool(failed))


def _passes(check: Check, maker: Client, user: Client) -> bool:
    title = f'{check.__name__}, {maker.name} and {user.name}'
    try:
        check(maker, user)
    except Exception:
        print(f'FAIL  {title}\n{traceback.format_exc()}', flush=True)
        return False
    print(f'ok    {title}', flush=True)
    return True


@contextlib.contextmanager
def _pair(
    folder: pathlib.Path, base: pathlib.Path, source: databases.Source
) -> Iterator[tuple[Client, Client]]:
    """Give clients of a server of the older tree and of one of this."""
    url = source.database()
    with contextlib.ExitStack() as stack:
        clients = []
        for name, root, more in (
            ('older', base, ''),
            ('newer', Server.root, _QUOTAS),
        ):
            own = folder / name
            own.mkdir()
            rest = target.settings(url) + _REST + more
            server = Server(own, rest=rest, workers=2)
            server.root = root
            if target.is_sql(url):
                target.upgrade(server)
            stack.callback(server.start().stop)
            clients.append(Client(name, server))
            clients[0].post(_queue(), 'from before')
        yield clients[0], clients[1]


if __name__ == '__main__':
    sys.exit(main())
