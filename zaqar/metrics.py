# SPDX-License-Identifier: Apache-2.0
"""Metrics of all processes, for Prometheus and statsd.

For Prometheus they are stored in files that the processes of a machine share,
and served on an address of their own; to statsd they are sent. Labels never
name a queue, and a project only where it is one of those that do most. Off,
neither library is imported.
"""

from __future__ import annotations

import functools
import os
import pathlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from oslo_config import cfg

from zaqar.metric_definitions import METRICS
from zaqar.storage import store_call_interceptor
from zaqar.storage.abstract_stores import GIVEN_UP, OUTBOX, PENDING
from zaqar.storage.store_call_interceptor import Store
from zaqar.top_projects import TopProjects

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
        help='Host to which the same metrics are sent in the format of '
        'statsd, by UDP. Unset for none.',
    ),
    cfg.PortOpt(
        'statsd_port', default=8125, help='Port of statsd on that host.'
    ),
    cfg.IntOpt(
        'top_projects',
        default=0,
        min=0,
        max=50,
        help='Projects that each process names once a minute, in the log and '
        'in metrics, as those with most requests, bytes and rejections. 0 for '
        'none.',
    ),
]

#: Stands for the store that the configuration names, among pools.
CONFIGURED = ':message_store'

#: Queues of the notifier, whose messages are none of a project's.
_INTERNAL = (OUTBOX, PENDING, GIVEN_UP)

#: Seconds between two looks at gauges that nobody sets.
_SAMPLED = 2.0

#: Where prometheus_client keeps what several processes count.
_SHARED = 'PROMETHEUS_MULTIPROC_DIR'


class Sink(Protocol):
    """A receiver of metrics, by their names and the values of their labels."""

    def begin(self, name: str, *labels: str) -> None:
        """Let a series exist before its first event."""

    def record(self, name: str, value: float, *labels: str) -> None:
        """Add to a counter, count a duration in seconds, or set a gauge."""


class Metrics(Sink):
    """The metrics of this process, for any number of sinks."""

    def __init__(self, sinks: Sequence[Sink] = ()) -> None:
        self._sinks = sinks
        self._ended = threading.Event()
        self.top_projects: TopProjects | None = None

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts, folder: pathlib.Path) -> Metrics:
        """Read it from a loaded configuration, and use it in this process.

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
        metrics = cls(sinks)
        if settings.top_projects:
            record = metrics.record if sinks else None
            metrics.top_projects = TopProjects(settings.top_projects, record)
        use(metrics)
        return metrics

    @property
    def request_observer(self) -> Callable[[float, str, str], None] | None:
        """Return a function that counts operations, None if off.

        It takes seconds, the operation, and a status: an error's or ``2xx``.
        """
        return (
            functools.partial(self.record, 'request') if self._sinks else None
        )

    def begin(self, name: str, *labels: str) -> None:
        for sink in self._sinks:
            sink.begin(name, *labels)

    def record(self, name: str, value: float, *labels: str) -> None:
        for sink in self._sinks:
            sink.record(name, value, *labels)

    def rejection_observer(
        self, resources: Sequence[str]
    ) -> Callable[[str], None]:
        """Return a function that counts what quotas reject.

        It takes the resource.

        :param resources: all there are
        """
        for resource in resources:
            self.begin('quota_rejections', resource)
        return functools.partial(self.record, 'quota_rejections', 1)

    def sample(self, name: str, read: Callable[[], int]) -> None:
        """Set a gauge every two seconds, until :meth:`close`.

        For a number that changes with each request, which would be slower if
        it set the gauge. Without metrics there is no thread.
        """
        if self._sinks:
            self.record(name, read())
            threading.Thread(
                target=self._sample, args=(name, read), daemon=True
            ).start()

    def _sample(self, name: str, read: Callable[[], int]) -> None:
        while not self._ended.wait(_SAMPLED):
            self.record(name, read())

    def close(self) -> None:
        """Stop setting gauges."""
        self._ended.set()

    def store(
        self, store: Store, plane: str, driver: str, pool: str = ''
    ) -> Store:
        """Return a store whose calls are counted, if metrics are on.

        :param pool: that it is, '' for one that the configuration names
        """
        if not self._sinks:
            return store

        def run(
            name: str, call: Callable[..., Any], *args: Any, **more: Any
        ) -> Any:
            began = time.perf_counter()
            result = 'error'
            try:
                answer = call(*args, **more)
                result = 'ok'
            finally:
                seconds = time.perf_counter() - began
                self.record('store_call', seconds, plane, driver, name, result)
            is_internal = args and args[0] in _INTERNAL
            if not is_internal and (count := _moved(name, answer)):
                self.record(
                    'messages', count, driver, pool or CONFIGURED, name
                )
            return answer

        return store_call_interceptor.through(store, run)


_process = Metrics()


def process() -> Metrics:
    """Return the metrics of this process, off unless configured."""
    return _process


def record_refusal(status: int) -> None:
    """Count a request that is refused before its operation."""
    _process.record('refused_requests', 1, str(status))


def use(metrics: Metrics) -> None:
    global _process
    _process = metrics


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


#: Methods of prometheus_client that record a value.
_RECORDERS = {'Counter': 'inc', 'Gauge': 'set', 'Histogram': 'observe'}


class _Prometheus(Sink):
    """Metrics in memory-mapped files, one set for each process."""

    def __init__(self) -> None:
        import prometheus_client

        self._metrics: dict[str, Any] = {
            name: getattr(prometheus_client, metric.kind)(
                f'zaqar_{name}',
                metric.help,
                metric.labels,
                registry=None,
                **metric.options,
            )
            for name, metric in METRICS.items()
        }
        self._recorders: dict[tuple[str, ...], Callable[[float], None]] = {}

    def begin(self, name: str, *labels: str) -> None:
        self._recorder(name, *labels)

    def record(self, name: str, value: float, *labels: str) -> None:
        self._recorder(name, *labels)(value)

    def _recorder(self, *key: str) -> Callable[[float], None]:
        """Return what records values of a series, made at its first use."""
        recorder = self._recorders.get(key)
        if recorder is None:
            name, *labels = key
            metric = self._metrics[name]
            series = metric.labels(*labels) if labels else metric
            recorder = getattr(series, _RECORDERS[METRICS[name].kind])
            self._recorders[key] = recorder
        return recorder


class _Statsd(Sink):
    """Metrics that are sent by UDP as they happen."""

    def __init__(self, host: str, port: int) -> None:
        import statsd

        self._client = statsd.StatsClient(host, port, prefix='zaqar')

    def begin(self, name: str, *labels: str) -> None:
        if METRICS[name].kind == 'Counter':
            self.record(name, 0, *labels)

    def record(self, name: str, value: float, *labels: str) -> None:
        path = _path(name, *labels)
        match METRICS[name].kind:
            case 'Counter':
                self._client.incr(path, value)
            case 'Histogram':
                self._client.timing(path, value * 1000)
            case 'Gauge':
                self._client.gauge(path, value)


# Dots and colons have a meaning of their own in statsd.
_CLEAN = str.maketrans('.:|@ ', '-----')


def _path(*parts: str) -> str:
    return '.'.join((part or CONFIGURED).translate(_CLEAN) for part in parts)
