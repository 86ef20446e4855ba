# SPDX-License-Identifier: Apache-2.0
"""What one operation costs each part of a deployment.

Processor time is measured under load; round trips and bytes by single requests
through a relay, which counts them.
"""

from __future__ import annotations

import contextlib
import pathlib
import re
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from benchmarks import (
    client_scripts,
    databases,
    load,
    machine,
    requests,
    target,
    websocket_connections,
)
from benchmarks.client_scripts import Operation, Queue
from benchmarks.deployment import (
    NOTIFIER,
    SOCKETS,
    STORE,
    Deployment,
    deployed,
    difference,
)
from benchmarks.load import Connection, Step
from benchmarks.receiver import Receiver
from benchmarks.relay import Relay, Traffic
from zaqar.tests.servers import process

OPERATIONS: Mapping[str, Operation] = {
    **client_scripts.OPERATIONS,
    **client_scripts.NEWER,
}

#: What no client asks for by itself.
DELIVERY, PUSH, FRAME = 'delivery', 'push', 'post 1 as a frame'

#: Single requests that are counted, after some that are not: scripts are sent
#: and queues looked up once.
WARM_UP, SINGLE = 6, 24

#: Connections that are pushed to, and messages for each.
SUBSCRIBED, PUSHED = 100, 20

#: Deliveries of webhooks that are counted: posts, messages and subscribers.
POSTS, EACH, HOOKS = 20, 10, 5

#: Seconds to wait for what has not come.
PATIENCE = 60.0

_NOTIFICATION = """
[notification]
allowed_networks = 127.0.0.0/8
embedded = {embedded}
"""

_ADDRESS = re.compile(r'(?<=127\.0\.0\.1:)\d+')


class Cost(msgspec.Struct):
    """What one operation costs.

    :ivar cpu: seconds of processor time, by part
    :ivar trips: round trips to the store
    :ivar store_bytes: to and from the store
    :ivar client_bytes: to and from the client
    :ivar memory: bytes that it holds while it lasts
    """

    cpu: Mapping[str, float]
    trips: float = 0.0
    store_bytes: float = 0.0
    client_bytes: float = 0.0
    memory: float = 0.0


def measured(
    source: databases.Source,
    folder: pathlib.Path,
    *,
    connections: int,
    seconds: float,
    rounds: int,
) -> Mapping[str, Cost]:
    """Return the costs of all operations on a store, by name."""
    with deployed(folder / 'direct', [source]) as direct:
        cpu = {
            name: _least(
                [
                    direct.turn(operation, connections, seconds).cpu
                    for _ in range(rounds + 1)
                ][1:]
            )
            for name, operation in OPERATIONS.items()
        }
    costs = {}
    # Without a notifier: what it asks the store for is no request's.
    with _relayed(source, folder / 'relayed', embedded=False) as (
        relayed,
        relay,
    ):
        for name, operation in OPERATIONS.items():
            traffic = _single(relayed, relay, operation)
            costs[name] = msgspec.structs.replace(traffic, cpu=cpu[name])
    with _relayed(source, folder / 'hooks', embedded=False) as hooks:
        costs[DELIVERY] = _delivery(*hooks)
    with _relayed(source, folder / 'sockets', transport='') as pushes:
        costs |= _over_sockets(*pushes, connections, seconds)
    return costs


@contextlib.contextmanager
def _relayed(
    source: databases.Source,
    folder: pathlib.Path,
    *,
    transport: str = 'wsgi',
    embedded: bool = True,
) -> Iterator[tuple[Deployment, Relay]]:
    url = source.database()
    port = _ADDRESS.search(url)
    assert port is not None, 'only what is reached by TCP can be counted'
    relay = Relay(int(port[0]))
    with (
        contextlib.closing(relay),
        deployed(
            folder,
            [source],
            url=_ADDRESS.sub(str(relay.port), url, count=1),
            transport=transport,
            rest=_NOTIFICATION.format(embedded=embedded),
        ) as deployment,
    ):
        yield deployment, relay


def _single(
    deployment: Deployment, relay: Relay, operation: Operation
) -> Cost:
    """Return what passes in single requests of an operation."""
    (script,) = client_scripts.prepared(
        operation, deployment.queues[:1], 1, 1.0
    )
    connection = Connection(deployment.server.port)
    traffic, sizes = [], []
    step = next(script)
    for number in range(-WARM_UP, SINGLE):
        before = relay.traffic()
        body = connection.exchange(step)
        if number >= 0:
            traffic.append(_passed(relay.traffic(), before))
        head = len(connection.head) + len('\r\n\r\n')
        sizes.append(len(step.request) + head + len(body))
        step = script.send(body)
    connection.close()
    # The mean: some scripts send requests of two kinds.
    return Cost(
        {},
        statistics.mean(item.trips for item in traffic),
        statistics.mean(item.sent + item.received for item in traffic),
        statistics.mean(sizes),
    )


def _delivery(deployment: Deployment, relay: Relay) -> Cost:
    """Return what a delivery to a webhook costs."""
    receiver, server = Receiver(), deployment.server
    queue = deployment.queues[0]
    for number in range(HOOKS):
        hook = {'subscriber': f'{receiver.url}/{number}', 'ttl': target.TTL}
        deployment.ask(queue.requests.subscribe(hook))
    post = _timed_post(deployment.project, queue.path)
    for _ in range(POSTS):
        deployment.ask(post)
    notifier = process.Process(
        server.command(program='notifier'), server.folder / 'notifier.log'
    )
    pid, count = notifier.child.pid, POSTS * EACH * HOOKS

    def spent() -> Mapping[str, float]:
        cpu = deployment.cpu()
        return {NOTIFIER: machine.cpu_seconds(pid), STORE: cpu[STORE]}

    try:
        first = _wait(receiver, 1)
        before, passed = spent(), relay.traffic()
        _wait(receiver, count)
        cpu = difference(spent(), before, count - first)
        traffic = _passed(relay.traffic(), passed)
    finally:
        notifier.stop()
        receiver.stop()
    return _notified(cpu, traffic, count - first)


def _over_sockets(
    deployment: Deployment, relay: Relay, connections: int, seconds: float
) -> Mapping[str, Cost]:
    """Return what a push, and a post in a frame, costs."""
    port, project = deployment.server.socket_port, deployment.project
    (pid,) = deployment.pids(SOCKETS)
    body = {
        'queue_name': 'frames',
        'messages': [{'ttl': target.TTL, 'body': msgspec.Raw(target.BODY)}],
    }
    step = Step(
        websocket_connections.request(project, 'message_post', body), 201
    )
    for _ in range(2):
        # The first time it is found out that nobody has subscribed.
        work = [load.repeat(step) for _ in range(connections)]
        frames = deployment.run(
            port, work, seconds, websocket_connections.Socket
        )
    held = machine.rss(pid)
    opened = [websocket_connections.Socket(port) for _ in range(SUBSCRIBED)]
    memory = (machine.rss(pid) - held) / SUBSCRIBED
    subscription = {'queue_name': 'news', 'ttl': target.TTL}
    subscribe = websocket_connections.request(
        project, 'subscription_create', subscription
    )
    for one in opened:
        one.exchange(Step(subscribe, 201))
    post = Queue(deployment.server.port, project, 'news').requests.post(1)
    deployment.ask(post)
    websocket_connections.counted(opened, SUBSCRIBED, time.perf_counter())
    count = SUBSCRIBED * PUSHED
    before, passed = deployment.cpu(), relay.traffic()
    for _ in range(PUSHED):
        deployment.ask(post)
    _, arrived = websocket_connections.counted(
        opened, count, time.perf_counter()
    )
    assert arrived == count, f'{arrived} of {count} have come'
    cpu = difference(deployment.cpu(), before, count)
    traffic = _passed(relay.traffic(), passed)
    for one in opened:
        one.close()
    push = _notified(cpu, traffic, count)
    push.memory = memory
    return {FRAME: Cost(frames.cpu), PUSH: push}


def _notified(cpu: Mapping[str, float], traffic: Traffic, count: int) -> Cost:
    parts = (STORE, NOTIFIER, SOCKETS)
    return Cost(
        {part: value for part, value in cpu.items() if part in parts},
        traffic.trips / count,
        (traffic.sent + traffic.received) / count,
    )


def _timed_post(project: str, path: str) -> Step:
    message = {'ttl': target.TTL, 'body': {'n': 0, 'at': time.time()}}
    body = msgspec.json.encode({'messages': [message] * EACH})
    data = requests.request(project, 'POST', f'{path}/messages', body)
    return Step(data, 201)


def _wait(receiver: Receiver, count: int) -> int:
    """Return how many requests have come: so many at least."""
    end = time.monotonic() + PATIENCE
    while (came := len(receiver.got())) < count:
        assert time.monotonic() < end, f'{came} of {count} have come'
        time.sleep(0.02)
    return came


def _passed(now: Traffic, before: Traffic) -> Traffic:
    old = vars(before)
    return Traffic(
        **{key: value - old[key] for key, value in vars(now).items()}
    )


def _least(slices: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
    """Return what the cheapest slice took: other work only adds to it."""
    return min(slices, key=lambda item: sum(item.values()))
