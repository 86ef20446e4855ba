# SPDX-License-Identifier: Apache-2.0
"""Metrics for Prometheus and statsd: counts, durations and failures.

For Prometheus they are stored in files that the processes of a machine share,
and served on an address of their own; to statsd they are sent. Labels never
name a project or a queue.
"""

from __future__ import annotations

import abc
import functools
import os
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from oslo_config import cfg

from zaqar.storage.base import OUTBOX, PENDING

GROUP = 'metrics'

OPTS = [
    cfg.HostAddressOpt(
        'bind',
        default='127.0.0.1',
        help='Address on which /metrics is served. It has no authentication.',
    ),
    cfg.PortOpt(
        'port',
        default=0,
        help='Port on which zaqar-server serves /metrics for Prometheus. 0 '
        'for none.',
    ),
    cfg.HostAddressOpt(
        'statsd_host',
        help='Host that is sent the same figures in the format of statsd, by '
        'UDP. Unset for none.',
    ),
    cfg.PortOpt(
        'statsd_port', default=8125, help='Port of statsd on that host.'
    ),
]

#: Stands for the store that the configuration names, among pools.
CONFIGURED = ':message_store'

#: Queues of the notifier, whose messages are none of a project's.
_INTERNAL = (OUTBOX, PENDING)

#: Where prometheus_client keeps what several processes count.
_SHARED = 'PROMETHEUS_MULTIPROC_DIR'

#: Upper bounds of the histograms, in seconds.
_BUCKETS = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)

Store = TypeVar('Store')


class Sink(abc.ABC):
    """A receiver of metrics."""

    @abc.abstractmethod
    def add(self, name: str, labels: Mapping[str, str], count: float) -> None:
        """Add to a counter."""

    @abc.abstractmethod
    def took(self, name: str, labels: Mapping[str, str], secs: float) -> None:
        """Count an event with its duration."""

    @abc.abstractmethod
    def set(self, name: str, value: float) -> None:
        """Set a gauge of this process."""


class Metrics:
    """The metrics of this process."""

    def __init__(self, sinks: Sequence[Sink] = ()) -> None:
        self._sinks = sinks

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts, folder: pathlib.Path) -> Metrics:
        """Read it from a loaded configuration.

        :param folder: where the state of this machine is
        """
        conf.register_opts(OPTS, GROUP)
        settings = conf[GROUP]
        sinks: list[Sink] = []
        if settings.port:
            share(shared(folder))
            sinks.append(_Prometheus())
        if settings.statsd_host:
            sinks.append(_Statsd(settings.statsd_host, settings.statsd_port))
        return cls(sinks)

    @property
    def observe(self) -> Callable[[str, str, float], None] | None:
        """Return a function that counts operations, None if off."""
        return self.request if self.enabled else None

    @property
    def enabled(self) -> bool:
        """Tell whether metrics are on."""
        return bool(self._sinks)

    def request(self, operation: str, outcome: str, seconds: float) -> None:
        """Count an operation of a client.

        :param outcome: a status that is an error, else ``2xx``
        """
        labels = {'operation': operation, 'status': outcome}
        self.took('request', labels, seconds)

    def took(
        self, name: str, labels: Mapping[str, str], seconds: float
    ) -> None:
        """Count an event with its duration."""
        for sink in self._sinks:
            sink.took(name, labels, seconds)

    def add(
        self, name: str, labels: Mapping[str, str], count: float = 1
    ) -> None:
        """Add to a counter."""
        for sink in self._sinks:
            sink.add(name, labels, count)

    def set(self, name: str, value: float) -> None:
        """Set a gauge of this process."""
        for sink in self._sinks:
            sink.set(name, value)

    def store(
        self, store: Store, plane: str, driver: str, pool: str = ''
    ) -> Store:
        """Return a store whose calls are counted, if metrics are on.

        :param pool: that it is, '' for one that the configuration names
        """
        if not self.enabled:
            return store
        measured: Any = _Measured(store, plane, driver, pool, self)
        wrapped: Store = measured
        return wrapped


class _Measured:
    """Proxy of a store."""

    def __init__(
        self,
        store: Any,
        plane: str,
        driver: str,
        pool: str,
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._pool = pool or CONFIGURED
        self._labels = {'plane': plane, 'driver': driver}
        self._metrics = metrics

    def __getattr__(self, attribute: str) -> Any:
        method = getattr(self._store, attribute)
        if not callable(method):
            return method
        measured = functools.partial(self._run, attribute, method)
        # Next time it is found at once.
        self.__dict__[attribute] = measured
        return measured

    def _run(
        self, name: str, call: Callable[..., Any], *args: Any, **more: Any
    ) -> Any:
        began = time.perf_counter()
        result = 'error'
        try:
            answer = call(*args, **more)
            result = 'ok'
        finally:
            labels = {**self._labels, 'call': name, 'result': result}
            self._metrics.took(
                'store_call', labels, time.perf_counter() - began
            )
        if not args or args[0] not in _INTERNAL:
            self._count(name, answer)
        return answer

    def _count(self, name: str, answer: Any) -> None:
        count = _moved(name, answer)
        if count:
            driver = self._labels['driver']
            labels = {'driver': driver, 'pool': self._pool, 'how': name}
            self._metrics.add('messages', labels, count)


def _moved(name: str, answer: Any) -> int:
    """Return the number of messages of a call."""
    match name:
        case 'post' | 'pop':
            return len(answer)
        case 'claim':
            return len(answer.messages) if answer else 0
        case 'sweep':
            return int(answer)
    return 0


def shared(state: pathlib.Path) -> str:
    """Return the folder of the files that processes share."""
    return str(state / 'metrics')


def share(folder: str) -> str:
    """Let this process and its children share files; return their folder.

    Called before any metric is made.
    """
    chosen = os.environ.setdefault(_SHARED, folder)
    pathlib.Path(chosen).mkdir(parents=True, exist_ok=True)
    from prometheus_client import values

    # It has looked at the variable when it was loaded, which may be before.
    values.ValueClass = values.MultiProcessValue()  # type: ignore[no-untyped-call]
    return chosen


_HELP = {
    'request': 'Operations that clients have asked for.',
    'store_call': 'Calls of stores.',
    'messages': 'Messages that calls of stores have moved.',
    'connections': 'Open WebSocket connections.',
}


class _Prometheus(Sink):
    """Metrics in memory-mapped files, one set for each process."""

    def __init__(self) -> None:
        import prometheus_client

        self._library = prometheus_client
        self._known: dict[str, Any] = {}
        self._children: dict[tuple[str, ...], Any] = {}

    def add(self, name: str, labels: Mapping[str, str], count: float) -> None:
        self._child(name, labels, self._library.Counter).inc(count)

    def took(self, name: str, labels: Mapping[str, str], secs: float) -> None:
        histogram = functools.partial(
            self._library.Histogram, buckets=_BUCKETS, unit='seconds'
        )
        self._child(name, labels, histogram).observe(secs)

    def set(self, name: str, value: float) -> None:
        gauge = functools.partial(
            self._library.Gauge, multiprocess_mode='livesum'
        )
        self._child(name, {}, gauge).set(value)

    def _child(
        self, name: str, labels: Mapping[str, str], kind: Callable[..., Any]
    ) -> Any:
        key = (name, *labels.values())
        child = self._children.get(key)
        if child is None:
            metric = self._known.get(name)
            if metric is None:
                metric = kind(
                    f'zaqar_{name}',
                    _HELP.get(name, name),
                    list(labels),
                    registry=None,
                )
                self._known[name] = metric
            child = metric.labels(*labels.values()) if labels else metric
            self._children[key] = child
        return child


class _Statsd(Sink):
    """Metrics that are sent by UDP as they happen."""

    def __init__(self, host: str, port: int) -> None:
        import statsd

        self._client = statsd.StatsClient(host, port, prefix='zaqar')

    def add(self, name: str, labels: Mapping[str, str], count: float) -> None:
        self._client.incr(_path(name, labels), count)

    def took(self, name: str, labels: Mapping[str, str], secs: float) -> None:
        self._client.timing(_path(name, labels), secs * 1000)

    def set(self, name: str, value: float) -> None:
        self._client.gauge(name, value)


def _path(name: str, labels: Mapping[str, str]) -> str:
    # Dots and colons have a meaning of their own there.
    parts = [name, *labels.values()]
    return '.'.join(part.translate(_CLEAN) for part in parts)


_CLEAN = str.maketrans('.:|@ ', '-----')
